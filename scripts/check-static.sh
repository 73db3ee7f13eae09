#!/usr/bin/env bash
# Proves that dist/orion-chat (or the file given) runs wherever it is copied: it is static, holds
# no path of this machine, serves from an empty folder, and looks names up without the host's help.
# One line a check; stops at the first that fails.
set -euo pipefail
binary=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../dist/orion-chat}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

ok() { printf 'ok: %s\n' "$*"; }

need curl=curl file=file gcc=gcc libc.a=libc6-dev readelf=binutils
[[ -x $binary ]] || die "$binary is not there: run scripts/build-release.sh first"

# Only root may chroot; others become root of a user namespace of their own first. Both programs
# by their full path, as they are started with an empty environment.
enter=("$(command -v chroot)")
((EUID == 0)) || enter=("$(command -v unshare)" -r "${enter[@]}")

# start_in ROOT ARGUMENT...: starts ROOT/orion-chat as if ROOT were the whole machine.
start_in() {
  local root=$1
  shift
  start env -i "${enter[@]}" "$root" /orion-chat "$@"
}

# request EXPECTED-STATUS ARGUMENT...: sets $reply to the body of an answer of that status.
request() {
  local expected=$1 answer
  shift
  answer=$(curl -q -gsS --noproxy '*' --max-time 10 -w '\n%{http_code}' "$@" 2>&1) ||
    die_of_server "curl ${*: -1}: $answer"
  reply=${answer%$'\n'*}
  [[ ${answer##*$'\n'} == "$expected" ]] ||
    die_of_server "${*: -1} answered ${answer##*$'\n'} for $expected: $reply"
}

# ---- the file ----

kind=$(file -b "$binary")
[[ $kind =~ statically\ linked|static-pie\ linked ]] || die "not statically linked: $kind"
ok "statically linked: ${BASH_REMATCH[0]}"

headers=$(readelf -ldW "$binary") || die "readelf cannot read $binary"
[[ $headers != *INTERP* ]] || die "it asks for a dynamic loader (INTERP)"
[[ $headers != *NEEDED* ]] || die "it asks for a shared library (NEEDED)"
ok "asks for no loader and no shared library"

# Built here, as a rule; /home for a binary that was brought here from somebody's machine.
for path in "$PWD" "${HOME:-}" "${CARGO_HOME:-}" "${RUSTUP_HOME:-}" /home; do
  [[ ${path%/} ]] || continue
  ! grep -qaF -- "${path%/}/" "$binary" ||
    die "it holds a path of this machine, or of the one that built it: ${path%/}/"
done
ok "holds no path of the machine that built it"

! grep -qaF ORION_CHAT_FAULT "$binary" || die "it holds faults that were planted for tests"
ok "holds no planted fault"

# ---- an empty folder ----

bare=$work/bare
mkdir "$bare"
cp "$binary" "$bare/orion-chat"
serve=(--listen 127.0.0.1:0 --data /orion-chat.redb)

start_in "$bare" "${serve[@]}" || die_of_server "does not start in an empty folder"
request 201 -H 'Content-Type: application/json' -d '{"userId":"a","firstMessage":"hi"}' \
  "$url/api/sessions/create"
hex='[0-9a-f]'
uuid="$hex{8}-$hex{4}-$hex{4}-$hex{4}-$hex{12}"
[[ $reply =~ \"sessionId\":\ *\"($uuid)\" ]] || die_of_server "minted no UUID: $reply"
session=${BASH_REMATCH[1]}
request 200 "$url/api/sessions/list?userId=a"
[[ $reply == *"$session"* ]] || die_of_server "does not list the session it created: $reply"
ok "serves from an empty folder: no /dev, no /etc, no /proc"

# run_in ROOT ARGUMENT...: sets $said to what ROOT/orion-chat says, or to what it complains of.
run_in() {
  local root=$1
  shift
  said=$(env -i "${enter[@]}" "$root" /orion-chat "$@" 2>&1)
}

run_in "$bare" health --ready --url "$url" || die_of_server "is not ready for itself: $said"
[[ $said == "$url/ready is ready" ]] || die_of_server "says of its health: $said"
ok "tells its health there, as a container's check asks for it"
for words in --version man 'completions bash'; do
  # shellcheck disable=SC2086 # a command and its argument
  run_in "$bare" $words || die_of_server "cannot do $words: $said"
  [[ $said == *orion*chat* ]] || die_of_server "says for $words: $said"
done
ok "tells its version, manual and completions there"

stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
ok "exit code 0 after SIGTERM"

status=0
run_in "$bare" health --url "$url" || status=$?
((status == 1)) || die "of a server that is gone, health ended with $status: $said"
ok "tells that it is gone (1)"

start_in "$bare" "${serve[@]}" || die_of_server "does not start on the data file it left"
request 200 "$url/api/sessions/list?userId=a"
[[ $reply == *"$session"* ]] || die_of_server "lost the session over a restart: $reply"
stop TERM
ok "finds its data again"

# ---- a host whose name service would kill it ----

# A static glibc still loads the modules that the host's nsswitch.conf names, built for another
# libc, and the process dies in them. Here such a module, at its most plain: loading it is death.
trap_root=$work/trap
mkdir -p "$trap_root/etc"
echo '127.0.0.1 localhost' >"$trap_root/etc/hosts"
printf '%s\n' 'hosts: poison files dns' 'passwd: poison files' 'group: poison files' \
  >"$trap_root/etc/nsswitch.conf"

poison=$work/libnss_poison.so.2
gcc -shared -fPIC -o "$poison" -x c - <<'EOF_C'
#include <unistd.h>
__attribute__((constructor)) static void die(void) { _exit(97); }
EOF_C
# In the folder where this machine keeps its libc, with what the module needs: libc and the loader.
folder=$trap_root$(dirname "$(gcc -print-file-name=libc.so.6)")
mapfile -t needed < <(ldd "$poison" | grep -o '/[^ ]*')
install -D -t "$folder" "$poison" "${needed[@]}"

# That the trap is set: a program without our guard dies of the very name looked up below.
gcc -static -o "$trap_root/unguarded" -x c - 2>"$log" <<'EOF_C' || die "gcc: $(<"$log")"
#include <netdb.h>
int main(void) {
  struct addrinfo *found;
  return getaddrinfo("localhost", 0, 0, &found);
}
EOF_C
status=0
timeout 10 env -i "${enter[@]}" "$trap_root" /unguarded || status=$?
((status == 97)) || die "the trap is not set: a program without the guard ended with $status"
ok "the host's name service kills a program without the guard (97)"

cp "$binary" "$trap_root/orion-chat"
start_in "$trap_root" --listen localhost:0 --data /orion-chat.redb ||
  die_of_server "dies of the host's name service (97 is the trap's)"
request 200 "$url/health"
stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
ok "looks up localhost there all the same, and serves"
