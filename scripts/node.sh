#!/bin/sh
# What deploy.sh and rollback.sh do on a node, as root; they bring it along. Plain sh, with what every
# Linux with systemd has. Releases lie in /opt/orion-chat/releases/VERSION-SHA12/; the links
# `current` and `previous` there name two of them, and /usr/local/bin/orion-chat leads to `current`.
set -eu
umask 022
PATH=$PATH:/usr/sbin:/sbin

top=/opt/orion-chat
unit=orion-chat.service
program=/usr/local/bin/orion-chat
brought=$(dirname "$0")

# Whoever asked may be gone: what was begun is brought to its end all the same.
say() { echo "$*" 2>/dev/null || :; }
die() {
  echo "FAILED: $*" >&2 2>/dev/null || :
  exit 1
}

# systemctl, which must not keep the lock that this script holds.
ctl() { systemctl "$@" 9>&-; }

lock() {
  mkdir -p "$top/releases"
  exec 9>"$top/.lock"
  flock -n 9 || die "another deploy or rollback is under way on this node; wait until it has ended"
}

# ---- a release ----

# receive SHA256: sets $release to what was brought, now in its place, or to the same that was there.
receive() {
  part=$top/releases/.part
  rm -rf "$part"
  mkdir "$part"
  cp "$brought/orion-chat" "$part/orion-chat" || die "no room for it in $top; nothing was changed"
  chmod 755 "$part/orion-chat"
  sync "$part/orion-chat" 2>/dev/null || sync
  [ "$(checksum "$part/orion-chat")" = "$1" ] ||
    die "the upload does not have the checksum of the file; nothing was changed: try again"
  runs_here "$part/orion-chat" || {
    rm -rf "$part"
    die "it is for another machine than this node ($(uname -m)); nothing was changed"
  }
  said=$(timeout 10 "$part/orion-chat" --version 2>&1) || {
    rm -rf "$part"
    die "it does not run on this node ($(uname -m)); nothing was changed: $(first_line "$said")"
  }
  version=$(first_line "$said" | sed -n 's/^orion-chat \([0-9A-Za-z.+~-]*\)$/\1/p')
  [ "$version" ] || {
    rm -rf "$part"
    die "it is not orion-chat; nothing was changed: for --version it says: $(first_line "$said")"
  }
  release=$version-$(echo "$1" | cut -c 1-12)
  if [ "$(checksum "$top/releases/$release/orion-chat")" != "$1" ]; then
    rm -rf "$top/releases/$release"
    mv "$part" "$top/releases/$release"
    received=yes
  fi
  rm -rf "$part"
}

# Whether a program is for this machine: a shell would take one that is not for a script of its own.
runs_here() {
  case $(uname -m):$(od -An -tx1 -N 20 "$1" | tr -d ' \n') in
    *:2321*) ;; # a script with an interpreter
    x86_64:7f454c46*3e00 | aarch64:7f454c46*b700) ;;
    x86_64:* | aarch64:*) return 1 ;;
    *:7f454c46*) ;;
    *) return 1 ;;
  esac
}

checksum() { { sha256sum <"$1" | cut -d ' ' -f 1; } 2>/dev/null; }
first_line() { printf '%s\n' "$1" | head -n 1; }

# The release that a link names, if it is there.
named() { basename "$(readlink "$top/$1" 2>/dev/null)"; }

# name LINK RELEASE: in one step, so that there is always one.
name() {
  ln -sfn "releases/$2" "$top/.$1"
  mv -T "$top/.$1" "$top/$1"
}

binary_of() { echo "$top/releases/$1/orion-chat"; }

# The format of data files that a release writes.
format_of() { "$(binary_of "$1")" --version 2>/dev/null | sed -n 's/^data file format //p'; }

# Leaves three: those with a name, and of the others the last in use.
prune() {
  kept=0
  for each in $(named current) $(named previous) $(ls -1t "$top/releases"); do
    case " ${seen:-} " in *" $each "*) continue ;; esac
    seen="${seen:-} $each"
    [ -d "$top/releases/$each" ] || continue
    kept=$((kept + 1))
    [ "$kept" -le 3 ] || rm -rf "${top:?}/releases/$each"
  done
}

# ---- the service ----

main_pid() { ctl show -p MainPID --value "$unit"; }

# given PID VARIABLE [FLAG]: what a process was started with, be it by flag or environment.
given() {
  {
    [ ! "${3:-}" ] || tr '\0' '\n' <"/proc/$1/cmdline" |
      awk -v flag="$3" 'take { print; exit } $0 == flag { take = 1 }
        index($0, flag "=") == 1 { print substr($0, length(flag) + 2); exit }'
    tr '\0' '\n' <"/proc/$1/environ" | sed -n "s/^$2=//p"
  } 2>/dev/null | head -n 1
}

# healthy PID RELEASE: whether what listens where this process was told to is ready; sets $why if not.
healthy() {
  where=
  if [ "$(given "$1" LISTEN_FDS)" ]; then
    where=$(ctl show -p Listen --value orion-chat.socket | sed -n 's/ (Stream)$//p' | head -n 1)
  fi
  why=$(env -i PORT="$(given "$1" PORT)" \
    ORION_CHAT_LISTEN="${where:-$(given "$1" ORION_CHAT_LISTEN --listen)}" \
    "$(binary_of "$2")" health --ready --timeout 5s 2>&1)
}

# up RELEASE: starts the service anew, and waits until this release has been ready for a second as one
# process. Sets $why if it does not get there.
up() {
  ctl reset-failed "$unit" 2>/dev/null || :
  why='it does not start'
  # Of a unit of Type=notify this waits until it says that it is ready.
  timeout "$wait_s" systemctl restart "$unit" 2>/dev/null 9>&- || return 1
  times=0 process=0 until=$(($(date +%s) + wait_s))
  while [ "$(date +%s)" -lt "$until" ]; do
    ctl is-failed --quiet "$unit" && why='it ends instead of serving' && return 1
    pid=$(main_pid)
    [ "$pid" = "$process" ] || times=0
    process=$pid
    if [ "$pid" != 0 ] && healthy "$pid" "$1"; then
      runs=$(readlink "/proc/$pid/exe")
      [ "$runs" = "$(readlink -f "$(binary_of "$1")")" ] || {
        why="the unit runs $runs instead of $program: see systemctl cat $unit"
        return 1
      }
      times=$((times + 1)) why='it does not stay ready'
      [ "$times" -lt 3 ] || return 0
    fi
    sleep 0.5
  done
  return 1
}

# What the service said last, for whoever asks why.
last_words() {
  words=$(journalctl -u "$unit" -n 8 -o cat --no-pager --quiet 2>/dev/null) || :
  [ ! "$words" ] || say "the last lines of its log:
$words"
}

# ---- the data ----

# Where the data file is: of the process that runs, else where the environment file or the unit has it.
data_file() {
  pid=$(main_pid)
  if [ "$pid" != 0 ]; then
    found=$(given "$pid" ORION_CHAT_DATA --data)
    # systemd names all folders of the state here, ours first.
    [ "$found" ] || found=$(given "$pid" STATE_DIRECTORY | cut -d : -f 1)/orion-chat.redb
  else
    found=$(sed -n "s/^ORION_CHAT_DATA=//p" /etc/orion-chat/orion-chat.env 2>/dev/null | tr -d "\"'")
  fi
  case $found in /?*/*) echo "$found" ;; *) echo /var/lib/orion-chat/orion-chat.redb ;; esac
}

# back_up_before RELEASE: a copy to go back to, of which $backup is the name.
back_up_before() {
  [ -e "$data" ] || die "there is no $data to back up; nothing was changed: start the service first"
  backup=$data.before-$1
  said=$("$(binary_of "$old")" backup "$backup" --data "$data" 2>&1) ||
    die "the data cannot be backed up; nothing was changed: $(first_line "$said")"
  say "backup: $said"
}

# bring_back BACKUP RELEASE: puts a backup in the data file's place; what was there is kept beside it.
bring_back() {
  # A connection to the socket would start the service again.
  if socket=$(ctl is-active orion-chat.socket 2>/dev/null); then ctl stop orion-chat.socket; fi
  ctl stop "$unit"
  "$(binary_of "$2")" restore "$1" --data "$data" 2>&1 || return 1
  [ "$socket" != active ] || ctl start orion-chat.socket
}

# ---- what can be asked for ----

# switch_to RELEASE [BACKUP]: makes it the current one, with the data of a backup if one is named; or
# goes back, and ends with 1.
switch_to() {
  new=$1 old=$(named current) data=$(data_file) backup='' replaced=
  # A release with another format may change the file so that the one before cannot read it.
  if [ "${2:-}" ] || { [ "$old" ] && [ "$(format_of "$old")" != "$(format_of "$new")" ]; }; then
    back_up_before "$new"
  fi
  if [ "${2:-}" ]; then
    replaced=yes
    bring_back "$2" "$new" || go_back "the backup $2 cannot be restored"
  fi
  name current "$new"
  up "$new" || go_back "$why"
  touch "$top/releases/$new"
  [ "$old" = "$new" ] || [ ! "$old" ] || name previous "$old"
  prune
  say "$new is ready"
}

go_back() {
  failed="$new: $1"
  last_words
  if [ ! "$old" ]; then
    ctl stop "$unit" || :
    rm -f "$top/current"
    forget_new
    die "$failed; it was stopped, as there is none to go back to"
  fi
  [ "$old" != "$new" ] || die "$failed; it is the current one, so there is none to go back to"
  name current "$old"
  forget_new
  # Patience with a new one is the operator's choice; this one must come up.
  [ "$wait_s" -ge 60 ] || wait_s=60
  if [ ! "$replaced" ] && up "$old"; then
    die "$failed; rolled back to $old, which is ready"
  fi
  if [ "$backup" ] && said=$(bring_back "$backup" "$old") && up "$old"; then
    die "$failed; rolled back to $old and its data, which is ready: $(echo "$said" | tail -n 1)"
  fi
  die "$failed; and $old is not ready either: $why; see journalctl -u $unit on the node"
}

# may_deploy FIRST-INSTALL
may_deploy() {
  [ -L "$program" ] || [ ! -e "$program" ] ||
    die "$program on the node is a file of its own; nothing was changed: move it away"
  [ "$1" ] || { [ -L "$program" ] && ctl cat "$unit" >/dev/null 2>&1; } ||
    die 'orion-chat is not set up on this node; nothing was changed: do it with --first-install'
}

# A release that failed does not make a good one go.
forget_new() { [ ! "${received:-}" ] || rm -rf "${top:?}/releases/$new"; }

# The unit files, the environment file and the user. What an operator may have changed stays.
set_up() {
  id orion-chat >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir /var/lib/orion-chat --no-create-home \
      --shell /usr/sbin/nologin orion-chat
  for each in "$brought"/systemd/*; do
    install -D -m 644 "$each" "/etc/systemd/system/$(basename "$each")"
  done
  [ -e /etc/orion-chat/orion-chat.env ] ||
    install -D -m 600 "$brought/orion-chat.env" /etc/orion-chat/orion-chat.env
  mkdir -p "$(dirname "$program")"
  ln -sfn "$top/current/orion-chat" "$program"
  ctl daemon-reload
}

# deploy SHA256 WAIT-SECONDS FIRST-INSTALL
deploy() {
  wait_s=$2
  lock
  may_deploy "$3"
  receive "$1"
  [ ! "$3" ] || set_up
  switch_to "$release"
  # Only what was ready once is started with the machine.
  [ "$old" ] || ctl enable --quiet "$unit"
}

# rollback WAIT-SECONDS WITH-DATA
rollback() {
  wait_s=$1
  lock
  [ -L "$top/current" ] || die 'orion-chat was not deployed to this node'
  release=$(named previous) current=$(named current)
  [ "$release" ] || die "there is no release before $current on this node; nothing was changed"
  [ -d "$top/releases/$release" ] || die "the release $release is gone; nothing was changed: deploy it"
  saved=
  if [ "$2" ]; then
    saved=$(data_file).before-$current
    [ -e "$saved" ] ||
      die "there is no $saved, as both read the same format; nothing was changed: leave out --with-data"
  fi
  switch_to "$release" "$saved"
}

"$@"
