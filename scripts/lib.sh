# shellcheck shell=bash
# What the scripts share: sourced by each, never run.

# Where rustup puts cargo, and where Debian keeps chroot: neither is always in the PATH.
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin:/usr/sbin:/sbin

die() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# need WHAT=PACKAGE...: sees to it that each WHAT is there, else installs its Debian package.
# WHAT is a program; or libc.a, the C library to link statically; or venv, the module of Python; or
# initdb, which Debian keeps with PostgreSQL's other programs of a server.
need() {
  local pair missing=()
  for pair in "$@"; do
    present "${pair%%=*}" || missing+=("${pair#*=}")
  done
  ((${#missing[@]} > 0)) || return 0

  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    die "missing on this machine: ${missing[*]}. As root, on Debian: apt-get install ${missing[*]}"
  fi
  echo "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q </dev/null || die "apt-get update"
  apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null ||
    die "apt-get install ${missing[*]}"
  for pair in "$@"; do
    present "${pair%%=*}" || die "${pair%%=*} is still missing after installing ${pair#*=}"
  done
}

present() {
  case $1 in
    # gcc answers with a path when it finds the file, else with the bare name.
    libc.a) [[ $(gcc -print-file-name=libc.a 2>/dev/null) == /* ]] ;;
    # Debian's python3 has the module without what it needs to work.
    venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    initdb) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}
