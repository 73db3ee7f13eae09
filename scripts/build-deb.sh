#!/usr/bin/env bash
# Leaves dist/orion-chat_VERSION_ARCHITECTURE.deb, of the binary that scripts/build-release.sh leaves. The
# same sources give the same bytes: it takes its times from SOURCE_DATE_EPOCH, else from the last
# commit. scripts/check-deb.sh proves it.
#
#   scripts/build-deb.sh [--revision N] [--output FOLDER] [binary]
#
#   --revision N  of the package, for one more of the same version (1)
#
# DEBFULLNAME and DEBEMAIL name whom the package comes from, as for Debian's own tools.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
source "$here/lib.sh"
umask 022
export LC_ALL=C

revision=1
output=$here/../dist
binary=$here/../dist/orion-chat
while (($# > 0)); do
  case $1 in
    --revision)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--revision takes a number from 1"
      revision=$2
      shift
      ;;
    --output)
      [[ -d ${2:-} ]] || die "--output takes a folder that is there"
      output=$2
      shift
      ;;
    -*) die "unknown option $1; there are --revision and --output" ;;
    *) binary=$1 ;;
  esac
  shift
done

need dpkg-deb=dpkg gzip=gzip
[[ -x $binary ]] || die "$binary is not there: run scripts/build-release.sh first"
binary=$(realpath "$binary")
packaging=$here/../packaging
version=$("$binary" --version | sed -n '1s/^orion-chat //p')
[[ $version ]] || die "$binary does not tell its version"
# A hyphen parts the revision from it; a version before its release has one too, and sorts before it.
version=${version/-/\~}-$revision
architecture=$(dpkg --print-architecture)
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct)}
maintainer="${DEBFULLNAME:-orion-chat} <${DEBEMAIL:-orion-chat@localhost}>"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

# put MODE FILE PATH: into the package. From stdin if FILE is -.
put() {
  local file=$2
  [[ $file != - ]] || file=/dev/stdin
  install -D -m "$1" "$file" "$tree$3"
}

# ---- what is installed ----

put 755 "$binary" /usr/bin/orion-chat

units=()
for unit in "$packaging"/systemd/orion-chat*; do
  [[ -f $unit ]] || continue
  units+=("$(basename "$unit")")
  sed 's|/usr/local/bin/|/usr/bin/|g' "$unit" | put 644 - "/usr/lib/systemd/system/${units[-1]}"
done

# dpkg asks before it overwrites what an administrator has changed.
put 600 "$packaging/env/orion-chat.env.example" /etc/orion-chat/orion-chat.env

mkdir "$tree/man"
"$binary" man "$tree/man" >/dev/null
for page in "$tree"/man/*; do
  gzip -9n <"$page" | put 644 - "/usr/share/man/man1/$(basename "$page").gz"
done
rm -r "$tree/man"
"$binary" completions bash | put 644 - /usr/share/bash-completion/completions/orion-chat
"$binary" completions zsh | put 644 - /usr/share/zsh/vendor-completions/_orion-chat
"$binary" completions fish | put 644 - /usr/share/fish/vendor_completions.d/orion-chat.fish

doc=/usr/share/doc/orion-chat
# The licence as the format has it: indented, and no line empty.
licence=$(awk '/^Copyright/ { on = 1; next } on && (NF || begun) { begun = 1; print NF ? " " $0 : " ." }' "$here/../LICENSE")
awk -v copyright="$(sed -n 's/^Copyright (c) /Copyright: /p' "$here/../LICENSE")" -v licence="$licence" \
  '$0 == "@COPYRIGHT@" { $0 = copyright } $0 == "@LICENSE@" { $0 = licence } { print }' \
  "$packaging/deb/copyright" | put 644 - "$doc/copyright"
gzip -9n <"$packaging/CHANGELOG.md" | put 644 - "$doc/changelog.gz"
gzip -9n <<EOF_C | put 644 - "$doc/changelog.Debian.gz"
orion-chat ($version) unstable; urgency=medium

  * What has changed is in changelog.gz.

 -- $maintainer  $(date -u -R -d "@$epoch")
EOF_C
put 644 "$packaging/deb/lintian-overrides" /usr/share/lintian/overrides/orion-chat

# ---- what dpkg is told ----

sums=$(cd "$tree" && find . -type f -printf '%P\n' | sort | xargs -d '\n' md5sum)
put 644 - /DEBIAN/md5sums <<<"$sums"
echo /etc/orion-chat/orion-chat.env | put 644 - /DEBIAN/conffiles
size=$(find "$tree" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
sed -e "s|@VERSION@|$version|; s|@ARCHITECTURE@|$architecture|; s|@INSTALLED_SIZE@|$size|" \
  -e "s|@MAINTAINER@|${maintainer//|/}|" "$packaging/deb/control.in" | put 644 - /DEBIAN/control
for script in postinst prerm postrm; do
  sed "s|@UNITS@|${units[*]}|" "$packaging/deb/$script" | put 755 - "/DEBIAN/$script"
done

find "$tree" -exec touch -h -d "@$epoch" {} +
# With one thread, since the bytes depend on how many there are.
SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group --threads-max=1 -Zxz --build "$tree" "$output" >/dev/null
deb=$output/orion-chat_${version}_$architecture.deb
printf '%s: %d bytes, sha256 %s\n' "$(realpath --relative-to=. "$deb")" "$(stat -c %s "$deb")" \
  "$(sha256sum <"$deb" | cut -d ' ' -f 1)"
