#!/usr/bin/env bash
# Runs packaging/openrc/orion-chat by the real OpenRC, in a folder that is its whole machine: start,
# the user and modes, the health check, reload, and stop. One line a check; stops at the first that
# fails. Needs root, as the service changes its user.
#
# ORION_CHAT names another server to test than target/debug/orion-chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

ok() { printf 'ok: %s\n' "$*"; }

script=packaging/openrc/orion-chat
need busybox=busybox-static shellcheck=shellcheck
# As OpenRC reads it: what it sets and calls is OpenRC's.
shellcheck --shell=busybox --exclude=SC2034,SC1090 "$script" 2>/dev/null ||
  shellcheck --shell=dash --exclude=SC2034,SC1090 "$script" || die "shellcheck $script"
ok "shellcheck finds nothing in $script"
if ((EUID != 0)); then
  echo "not checked: $script by OpenRC, which needs root"
  exit
fi
if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
binary=$(realpath "${ORION_CHAT:-target/debug/orion-chat}")

# ---- a machine with OpenRC, which is not installed on this one ----

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
chmod 755 "$work"
(cd "$work" && apt-get download -q -o APT::Sandbox::User=root openrc libeinfo1 librc1 >/dev/null) ||
  (apt-get update -q && cd "$work" && apt-get download -q -o APT::Sandbox::User=root openrc libeinfo1 librc1) ||
  die "apt-get download openrc"
for package in "$work"/*.deb; do dpkg -x "$package" "$root"; done
install -D -t "$root/bin" "$(command -v busybox)"
chroot "$root" /bin/busybox --install -s /bin
install -D -t "$root/usr/local/bin" "$binary"
install -D -m 755 "$script" "$root/etc/init.d/orion-chat"

# The libraries of this machine for what is not static, and the module of PAM that asks nothing.
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$root"/lib/*-linux-gnu)
mapfile -t files < <(for program in "$root"/sbin/{openrc-run,supervise-daemon} "$binary"; do
  ldd "$program" | grep -o '/[^ ]*'
done | sort -u)
unset LD_LIBRARY_PATH
for file in "${files[@]}"; do
  [[ $file == "$root"/* ]] || install -D "$file" "$root$file"
  [[ $file != */libpam.so.0 ]] || install -D -t "$root${file%/*}/security" "${file%/*}/security/pam_permit.so"
done
mkdir -p "$root/etc/pam.d" "$root/etc/conf.d" "$root/etc/orion-chat" "$root/var/log" "$root/var/lib" \
  "$root/dev" "$root/proc" "$root/tmp" \
  "$root"/run/openrc/{daemons,exclusive,failed,hotplugged,inactive,options,scheduled,started,starting,stopping,tmp,wasinactive}
ln -s ../run "$root/var/run"
touch "$root/run/openrc/softlevel" "$root/etc/insserv.conf"
mknod -m 666 "$root/dev/null" c 1 3
for kind in auth account password session; do echo "$kind required pam_permit.so"; done >"$root/etc/pam.d/other"
printf '%s\n' 'root:x:0:0::/:/bin/sh' 'orion-chat:x:990:990::/var/lib/orion-chat:/sbin/nologin' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'orion-chat:x:990:' >"$root/etc/group"
cat >"$root/etc/orion-chat/orion-chat.env" <<'EOF_ENV'
ORION_CHAT_LISTEN=127.0.0.1:3002
ALLOWED_ORIGINS_FILE=/etc/orion-chat/origins
EOF_ENV
echo 'https://a.example' >"$root/etc/orion-chat/origins"

# ---- a day of the service, in a network of its own ----

cat >"$root/day" <<'EOF_DAY'
set -eu
fail() { echo "$*, and its log says: $(cat /var/log/orion-chat.log)"; exit 1; }
# until_true COMMAND...: waits for it, for 20 s.
until_true() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail "it never came true: $*"
    sleep 0.1
  done
}
service() { /etc/init.d/orion-chat --nodeps "$@" >/tmp/said 2>&1 || fail "$*: $(cat /tmp/said)"; }
# The process id of the server, whose parent is supervise-daemon.
server() {
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/exe")" != /usr/local/bin/orion-chat ] || echo "${process#/proc/}"
  done
}

ip link set lo up
service start
until_true orion-chat health --ready --quiet
service healthcheck
[ "$(stat -c '%U %a' /var/lib/orion-chat)" = 'orion-chat 700' ] || fail 'the folder is not its own'
[ "$(stat -c '%U %a' /var/lib/orion-chat/orion-chat.redb)" = 'orion-chat 600' ] || fail 'the file is not its own'
pid=$(server)
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" = 990 ] || fail 'it does not run as orion-chat'
[ "$(awk '/^Max open files/ { print $4 }' "/proc/$pid/limits")" = 16384 ] || fail 'its descriptors are few'
echo 'https://b.example' >/etc/orion-chat/origins
service reload
until_true grep -q 'pages of https://b.example may call' /var/log/orion-chat.log
kill -KILL "$pid"
is_another() { [ "$(server)" ] && [ "$(server)" != "$pid" ]; }
until_true is_another
until_true orion-chat health --ready --quiet
service stop
tail -n 1 /var/log/orion-chat.log | grep -q stopped || fail 'it was not stopped in good order'
! /etc/init.d/orion-chat healthcheck >/dev/null 2>&1 || fail 'one that is stopped is said to be healthy'
EOF_DAY
said=$(unshare --mount --pid --net --fork --mount-proc="$root/proc" env -i PATH=/usr/local/bin:/bin:/sbin \
  "$(command -v chroot)" "$root" /bin/sh /day 2>&1) || die "$script by OpenRC: $said"
ok "OpenRC starts it as its user, finds it healthy, reloads it, starts it again when it is killed, stops it"
