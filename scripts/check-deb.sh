#!/usr/bin/env bash
# Proves the Debian package: built twice it has the same bytes, lintian finds nothing wrong, and it comes
# and goes as Debian's policy has it, in a copy of this machine that is thrown away. Needs root. One line a
# check; stops at the first that fails.
#
#   scripts/check-deb.sh [binary]      dist/orion-chat if not given
set -euo pipefail
binary=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../dist/orion-chat}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

ok() { printf 'ok: %s\n' "$*"; }

need adduser=adduser deb-systemd-helper=init-system-helpers lintian=lintian systemctl=systemd unshare=util-linux
[[ -x $binary ]] || die "$binary is not there: run scripts/build-release.sh first"
((EUID == 0)) || die "only root can install a package"

# With mounts of its own, which go with it.
if [[ ! ${ORION_CHAT_CHECK_DEB:-} ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  ORION_CHAT_CHECK_DEB=$work unshare --mount --pid --fork --kill-child --mount-proc \
    "$(realpath "${BASH_SOURCE[0]}")" "$binary"
  exit
fi
work=$ORION_CHAT_CHECK_DEB

# ---- the file ----

export SOURCE_DATE_EPOCH=1700000000
mkdir "$work"/{one,other,newer}
scripts/build-deb.sh --output "$work/one" "$binary" >/dev/null
(umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 scripts/build-deb.sh --output "$work/other" "$binary" >/dev/null)
deb=$(echo "$work"/one/*.deb)
cmp "$deb" "$work/other/$(basename "$deb")" || die "built twice, the packages differ"
ok "built twice, it has the same bytes"

# Whoever builds it for others names themselves, and there is no bug to close.
lintian --fail-on error,warning --allow-root \
  --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs \
  "$deb" || die "lintian"
ok "lintian finds nothing wrong"

scripts/build-deb.sh --revision 2 --output "$work/newer" "$binary" >/dev/null
newer=$(echo "$work"/newer/*.deb)

# ---- a machine ----

# What is written in it goes to memory.
mkdir "$work/layer"
mount -t tmpfs tmpfs "$work/layer"
mkdir "$work"/layer/{upper,work,root}
machine=$work/layer/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layer/upper,workdir=$work/layer/work" "$machine" ||
  die "no copy of this machine can be made: it has no overlayfs"
mount --rbind /dev "$machine/dev"
mount -t proc proc "$machine/proc"
mount -t tmpfs tmpfs "$machine/run"
mount -t tmpfs tmpfs "$machine/tmp"
in_machine() { chroot "$machine" "$@"; }

# As one that was booted by systemd: what is asked of a running one is written down.
mkdir -p "$machine/run/systemd/system"
rm -f "$machine/usr/sbin/policy-rc.d"
mv "$machine/usr/bin/systemctl" "$machine/usr/bin/systemctl.real"
cat >"$machine/usr/bin/systemctl" <<'EOF_SH'
#!/bin/sh
echo "$*" >>/run/systemctl.calls
case "$*" in
  --root=*) exec systemctl.real "$@" ;;
  *' is-enabled '*) exec systemctl.real --root=/ "$@" ;;
  *' is-active '*) [ -e /run/active ] ;;
  *start\ *) touch /run/active ;;
  *stop\ *) rm -f /run/active ;;
esac
EOF_SH
chmod +x "$machine/usr/bin/systemctl"
cp "$deb" "$machine/tmp/orion-chat.deb"
cp "$newer" "$machine/tmp/newer.deb"

# package ARGUMENT...: dpkg, there, with the documentation that images of containers leave out; what it
# says goes to $said. Forgets what was asked of systemd before.
package() {
  : >"$machine/run/systemctl.calls"
  said=$(in_machine env DEBIAN_FRONTEND=noninteractive \
    dpkg --path-include='/usr/share/*' "$@" 2>&1) || die "dpkg $*: $said"
}
asked() { grep -qx -- "$1" "$machine/run/systemctl.calls"; }
must_ask() { asked "$1" || die "systemd was not asked to $1, but: $(<"$machine/run/systemctl.calls")"; }

# has PATH MODE OWNER
has() {
  local found
  found=$(in_machine stat -c '%a %U' "$1") || die "there is no $1"
  [[ $found == "$2 $3" ]] || die "$1 is $found, not $2 $3"
}
is_enabled() { [[ -L $machine/etc/systemd/system/multi-user.target.wants/orion-chat.service ]]; }

# ---- it comes ----

package -i /tmp/orion-chat.deb
has /usr/bin/orion-chat 755 root
has /usr/lib/systemd/system/orion-chat.service 644 root
has /etc/orion-chat/orion-chat.env 600 root
for file in man/man1/orion-chat.1.gz man/man1/orion-chat-backup.1.gz zsh/vendor-completions/_orion-chat \
  bash-completion/completions/orion-chat fish/vendor_completions.d/orion-chat.fish \
  doc/orion-chat/copyright doc/orion-chat/changelog.gz; do
  has "/usr/share/$file" 644 root
done
[[ $(in_machine dpkg --verify orion-chat) == '' ]] || die "dpkg --verify: $(in_machine dpkg --verify orion-chat)"
in_machine getent passwd orion-chat | grep -q ':/var/lib/orion-chat:/usr/sbin/nologin$' || die "no system user"
ok "installs its files, and a user"

for unit in "$machine"/usr/lib/systemd/system/orion-chat*; do
  while read -r program; do
    in_machine test -x "$program" || die "$(basename "$unit") starts $program, which is not there"
  done < <(sed -n 's/^Exec[A-Za-z]*=[-@:+!]*\([^ ]*\).*/\1/p' "$unit")
done
[[ $(in_machine orion-chat --version) == "$("$binary" --version)" ]] || die "it is another binary"
ok "its units start what it installs"

is_enabled || die "the service is not enabled"
[[ $(find "$machine/etc/systemd/system" -name 'orion-chat*' -printf 1) == 1 ]] || die "more was enabled"
must_ask '.*\<start orion-chat.service'
! asked '.*\(socket\|timer\).*' || die "more was started: $(<"$machine/run/systemctl.calls")"
ok "enables and starts the service, and nothing else"

# ---- it changes ----

echo 'ORION_CHAT_LOG=debug' >>"$machine/etc/orion-chat/orion-chat.env"
mkdir -p "$machine/var/lib/orion-chat"
echo chats >"$machine/var/lib/orion-chat/orion-chat.redb"
stays() {
  grep -qx ORION_CHAT_LOG=debug "$machine/etc/orion-chat/orion-chat.env" || die "the environment is lost"
  has /etc/orion-chat/orion-chat.env 600 root
}
package -i /tmp/newer.deb
stays
must_ask '.*\<restart orion-chat.service'
ok "an upgrade keeps what was configured, and restarts the service"

rm "$machine/etc/systemd/system/multi-user.target.wants/orion-chat.service"
package -i /tmp/orion-chat.deb
! is_enabled || die "it enabled what was disabled"
ok "what was disabled stays so"

# ---- it goes ----

package -r orion-chat
stays
! in_machine test -e /usr/bin/orion-chat || die "the binary is still there"
must_ask '.*\<stop .*orion-chat\.service.*'
ok "removing it stops the service, and keeps what was configured"

package -P orion-chat
! in_machine test -e /etc/orion-chat || die "/etc/orion-chat is still there"
[[ $(<"$machine/var/lib/orion-chat/orion-chat.redb") == chats ]] || die "the chats are gone"
[[ $said == *'the chats stay in /var/lib/orion-chat'* ]] || die "it does not tell of the chats: $said"
left=$(find "$machine"/{etc,usr,var/lib/systemd} -name '*orion-chat*' -not -path '*/deb-systemd-helper-masked/*')
[[ ! $left ]] || die "left behind: $left"
ok "purging it leaves the chats, says so, and leaves nothing else"
