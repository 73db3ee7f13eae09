#!/usr/bin/env bash
# Proves deploy.sh and rollback.sh over a real ssh between two machines that are made for it: network and
# mount namespaces of this one, of which the node has a sshd, an /etc, /opt, /usr/local and /var/lib
# of its own, and a stand-in for systemctl. Needs root. One line a check; stops at the first that fails.
#
#   scripts/test-deploy.sh [binary]      dist/orion-chat if not given
set -euo pipefail
binary=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../dist/orion-chat}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

need curl=curl ip=iproute2 sshd=openssh-server ssh=openssh-client sudo=sudo unshare=util-linux
[[ -x $binary ]] || die "$binary is not there: run scripts/build-release.sh first"
((EUID == 0)) || die "only root can make network namespaces"

# In namespaces of its own, so that whatever it starts ends with it.
if [[ ! ${ORION_CHAT_TEST_DEPLOY:-} ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  ORION_CHAT_TEST_DEPLOY=$work unshare --net --mount --pid --fork --kill-child --mount-proc \
    "$(realpath "${BASH_SOURCE[0]}")" "$binary"
  exit
fi
work=$ORION_CHAT_TEST_DEPLOY
# What is left by a script that is killed goes with the rest.
export TMPDIR=$work
# Where every user of the node reaches it.
chmod 755 "$work"
install -m 755 "$binary" "$work/orion-chat"
binary=$work/orion-chat

ok() { printf 'ok: %s (%d s)\n' "$*" $SECONDS; }

# wait_for WHAT COMMAND...: until it succeeds, for a minute.
wait_for() {
  local what=$1 tries
  shift
  for ((tries = 0; tries < 600; tries++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  die "waited in vain for $what"
}

# ---- the node ----

unshare --net --mount sleep infinity &
holder=$!
is_apart() { [[ $(readlink /proc/self/ns/mnt) != "$(readlink "/proc/$holder/ns/mnt")" ]]; }
wait_for 'the node' is_apart
on_the_node() { nsenter --target "$holder" --net --mount "$@"; }

cp -a /etc "$work/etc"
for each in /opt /usr/local/bin /var/lib /run; do on_the_node mount -t tmpfs -o mode=755 tmpfs "$each"; done
on_the_node mount --bind "$work/etc" /etc
on_the_node find /etc -depth -name 'orion-chat*' -exec rm -rf {} +
on_the_node mkdir -p /run/sshd /etc/systemd/system
# Users who can be logged in as, with a key: one who may become root, and one who may not.
for each in mary john; do on_the_node useradd --no-create-home --password '*' "$each"; done
echo 'mary ALL=(ALL) NOPASSWD: ALL' >"$work/etc/sudoers.d/mary"

ip link add to-node type veth peer name eth0 netns "$holder"
ip address add 10.0.0.1/24 dev to-node
ip link set to-node up
on_the_node ip address add 10.0.0.2/24 dev eth0
on_the_node ip link set eth0 up
on_the_node ip link set lo up

# A stand-in for systemctl: what is asked of it here, with one process and no restarts. It starts the
# unit's program as systemd does: as the user, in a state folder of its own.
cat >"$work/systemctl" <<'EOF_SH'
#!/bin/sh
set -eu
verb=$1 file=/etc/systemd/system/orion-chat.service pid=/run/orion-chat.pid log=/run/orion-chat.log
state=/var/lib/orion-chat
echo "$*" >>/run/systemctl.calls
running() { [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
stop() {
  if running; then
    kill "$(cat "$pid")"
    while running; do sleep 0.05; done
  fi
  rm -f "$pid"
}
start() {
  install -d -m 700 -o orion-chat -g orion-chat "$state"
  set -a
  STATE_DIRECTORY=$state
  [ ! -e /etc/orion-chat/orion-chat.env ] || . /etc/orion-chat/orion-chat.env
  cd /
  setsid setpriv --reuid orion-chat --regid orion-chat --clear-groups \
    $(sed -n 's/^ExecStart=//p' "$file") </dev/null >>"$log" 2>&1 &
  echo $! >"$pid"
}
case "$*" in
  daemon-reload | reset-failed* | enable*) ;;
  'is-active orion-chat.socket') echo inactive; exit 3 ;;
  "cat "*) cat "$file" ;;
  "show -p MainPID"*) if running; then cat "$pid"; else echo 0; fi ;;
  is-failed*) [ -e "$pid" ] && ! running ;;
  "stop "*) stop ;;
  "restart "*) stop; start ;;
  *) echo "systemctl: $*?" >&2; exit 1 ;;
esac
EOF_SH
chmod +x "$work/systemctl"
on_the_node install -m 755 "$work/systemctl" /usr/local/bin/systemctl

# ---- ssh ----

for key in host user; do ssh-keygen -q -t ed25519 -N '' -f "$work/$key"; done
cat >"$work/sshd_config" <<EOF_C
HostKey $work/host
AuthorizedKeysFile $work/user.pub
ListenAddress 10.0.0.2
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
EOF_C
cat >"$work/ssh_config" <<EOF_C
Host node
  HostName 10.0.0.2
  HostKeyAlias node
  IdentityFile $work/user
  IdentitiesOnly yes
  UserKnownHostsFile $work/known_hosts
  BatchMode yes
  LogLevel ERROR
EOF_C
echo "node $(<"$work/host.pub")" >"$work/known_hosts"
# sshd wants the path that it starts itself again by.
on_the_node "$(command -v sshd)" -f "$work/sshd_config" -E "$work/sshd.log"
wait_for 'the node'"'"'s sshd' ssh -F "$work/ssh_config" root@node true

# ---- releases ----

# release NAME: the binary with other bytes behind it, which change nothing but its checksum.
release() {
  cp "$binary" "$work/$1"
  echo "$1" >>"$work/$1"
}

# broken NAME: one that tells its version, and then does what stdin says instead of serving.
broken() {
  {
    printf '#!/bin/sh\n[ "$1" != --version ] || exec %q --version\n' "$binary"
    printf '[ "$1" != health ] || exec %q "$@"\n' "$binary"
    cat
  } >"$work/$1"
  chmod +x "$work/$1"
}

for each in one two three four; do release "$each"; done
broken crashing <<<'echo "out of luck" >&2; exit 1'
# Until it is told to, in vain.
broken mute <<<"while [ ! -e $work/enough ]; do sleep 0.1; done; exit 1"
# Of another file format, by what it says of itself.
sed 's/data file format /data file bottom /' "$binary" >"$work/newer"
chmod +x "$work/newer"
cat >"$work/spoiling" <<EOF_SH
#!/bin/sh
case \$1 in
  --version) exec "$work/newer" --version ;;
  health) exec "$binary" "\$@" ;;
esac
echo spoilt >"\$STATE_DIRECTORY/orion-chat.redb"
exit 1
EOF_SH
printf '#!/bin/sh\necho "rm 1.0"\n' >"$work/stranger"
cp "$binary" "$work/foreign"
# e_machine of the ELF header: a machine that nobody has here.
printf '\x08\x00' | dd of="$work/foreign" bs=1 seek=18 conv=notrunc status=none
printf '#!/no/such/interpreter\n' >"$work/unable"
version=$("$binary" --version | sed -n '1s/^orion-chat //p')
name_of() { echo "$version-$(sha256sum <"$work/$1" | cut -c 1-12)"; }

# ---- what an operator does, and sees ----

# deploy/rollback EXPECTED-STATUS USER ARGUMENT...: sets $said to all that it says.
deploy() { run_script deploy "$@"; }
rollback() { run_script rollback "$@"; }
run_script() {
  local script=$1 expected=$2 user=$3 status=0
  shift 3
  said=$("scripts/$script.sh" --ssh-config "$work/ssh_config" --wait 20 "$user@node" "$@" 2>&1) || status=$?
  ((status == expected)) || die "$script $* ended with $status: $said"
}

# Sessions on the node, as a caller there makes and lists them.
create() {
  ask /create -H 'Content-Type: application/json' -d "{\"userId\":\"ann\",\"sessionId\":\"$1\"}" >/dev/null
}
sessions() {
  ask '/list?userId=ann&sortBy=createdAt&sortOrder=asc' |
    grep -o '"sessionId":"[^"]*"' | cut -d '"' -f 4 | xargs
}
ask() {
  on_the_node curl -q -fsS --noproxy '*' "http://127.0.0.1:3002/api/sessions$1" "${@:2}" || die "no answer to $1"
}

says() {
  local text
  for text; do [[ $said == *"$text"* ]] || die "no '$text' in: $said"; done
  (($(grep -c '^FAILED' <<<"$said") <= 1)) || die "more than one line of failure: $said"
}

current() { basename "$(on_the_node readlink "/opt/orion-chat/${1:-current}")"; }
releases() { on_the_node ls -A /opt/orion-chat/releases | sort | tr '\n' ' '; }
serves() {
  on_the_node env -i "$binary" health --ready --quiet || die "the node is not ready"
  [[ $(current) == "$(name_of "$1")" ]] || die "$(current) is current, not $1: $said"
  local pid
  pid=$(on_the_node systemctl show -p MainPID --value orion-chat.service)
  [[ $(on_the_node readlink "/proc/$pid/exe") == "/opt/orion-chat/releases/$(name_of "$1")/orion-chat" ]] ||
    die "it is not $1 that serves"
}

# ---- the cases ----

deploy 1 root "$work/one"
says 'FAILED: orion-chat is not set up on this node' --first-install
ok 'a node that is not set up is refused'

deploy 1 john --first-install "$work/one"
says 'FAILED: john may not use sudo' 'nothing was changed'
deploy 1 nobody-known --first-install "$work/one"
says 'FAILED: the connection to nobody-known@node failed'
deploy 1 root --first-install "$work/missing"
says "FAILED: $work/missing is not there"
ok 'who may not, and what is not there, is refused in a line'

deploy 1 root --first-install "$work/crashing"
says "$(name_of crashing): it ends instead of serving" 'none to go back to'
on_the_node systemctl show -p MainPID --value | grep -qx 0 || die "something runs"
ok 'a first release that crashes is stopped'

deploy 0 root --first-install "$work/one"
says "$(name_of one) is ready"
serves one
[[ $(on_the_node stat -c %a:%U /etc/orion-chat/orion-chat.env) == 600:root ]] || die "the environment's mode"
[[ $(on_the_node stat -c %a:%U /var/lib/orion-chat/orion-chat.redb) == 600:orion-chat ]] || die "the data's mode"
on_the_node grep -q '^enable .*orion-chat.service' /run/systemctl.calls || die "it was not enabled"
cmp packaging/systemd/orion-chat.service "$work/etc/systemd/system/orion-chat.service"
ok 'a bare node is brought into service'

on_the_node sh -c 'echo ORION_CHAT_LOG=warn >>/etc/orion-chat/orion-chat.env'
deploy 0 root --first-install "$work/one"
on_the_node grep -q '^ORION_CHAT_LOG=warn$' /etc/orion-chat/orion-chat.env || die "the environment was overwritten"
serves one
ok 'again, what the operator has changed stays'

deploy 0 mary "$work/two"
serves two
[[ $(current previous) == "$(name_of one)" ]] || die "previous is $(current previous)"
ok 'a good release takes over, by a user with sudo'

before=$(releases)
deploy 1 root "$work/foreign"
says 'FAILED: it is for another machine than this node' 'nothing was changed'
deploy 1 root "$work/unable"
says 'FAILED: it does not run on this node' 'No such file' 'nothing was changed'
deploy 1 root "$work/stranger"
says 'FAILED: it is not orion-chat' 'rm 1.0'
[[ $(releases) == "$before" ]] || die "left behind: $(releases)"
serves two
ok 'a release for another machine, or that is none, is refused before the switch'

deploy 1 mary "$work/crashing"
says "FAILED: $(name_of crashing): it ends instead of serving; rolled back to $(name_of two), which is ready"
[[ $(releases) == "$before" ]] || die "left behind: $(releases)"
serves two
ok 'from a release that crashes it rolls back'

deploy 1 root --wait 2 "$work/mute"
says "FAILED: $(name_of mute): " 'refused' "rolled back to $(name_of two), which is ready"
serves two
ok 'from a release that never gets ready it rolls back'

deploy 0 root "$work/three"
deploy 0 root "$work/four"
serves four
[[ $(releases) == "$(printf '%s\n' "$(name_of two)" "$(name_of three)" "$(name_of four)" | sort | tr '\n' ' ')" ]] ||
  die "kept are $(releases)"
ok 'the fourth release makes the oldest go'

rollback 0 mary
serves three
rollback 0 root
serves four
rollback 1 root --with-data
says 'FAILED: there is no /var/lib/orion-chat/orion-chat.redb.before-' 'leave out --with-data'
serves four
ok 'rollback.sh goes back, and forth again, without other data where the format stayed'

create before
deploy 1 root --wait 5 "$work/spoiling"
says 'backup: /var/lib/orion-chat/orion-chat.redb.before-' "rolled back to $(name_of four) and its data, which is ready" \
  before-restore
serves four
[[ $(sessions) == before ]] || die "the sessions are: $(sessions)"
ok 'from a release of another format that spoils the data, it goes back to the data of before'

deploy 0 root "$work/newer"
says 'backup: ' "$(name_of newer) is ready"
create since
[[ $(sessions) == 'before since' ]] || die "the sessions are: $(sessions)"
rollback 0 mary --with-data
serves four
[[ $(sessions) == before ]] || die "the sessions are: $(sessions)"
on_the_node find /var/lib/orion-chat -name '*.before-restore-*' | grep -q . || die "nothing was kept"
ok 'rollback.sh --with-data goes back to the data of before, and keeps what was written since'

is_current() { [[ $(current) == "$(name_of "$1")" ]]; }
setsid scripts/deploy.sh --ssh-config "$work/ssh_config" --wait 600 root@node "$work/mute" >/dev/null 2>&1 &
cut_off=$!
disown
wait_for 'the switch' is_current mute
deploy 1 root "$work/one"
says 'FAILED: another deploy or rollback is under way'
rollback 1 root
says 'FAILED: another deploy or rollback is under way'
kill -KILL -- "-$cut_off"
touch "$work/enough"
wait_for 'the node to go back' is_current four
wait_for 'the node to be ready' on_the_node env -i "$binary" health --ready
serves four
ok 'one at a time; and a node that is left alone in the middle goes back by itself'
