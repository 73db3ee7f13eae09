#!/usr/bin/env bash
# Brings a release to a node, and goes back by itself if it is not ready there.
#
#   scripts/deploy.sh [OPTION...] user@node [binary]
#
#   binary             dist/orion-chat if not given, as scripts/build-release.sh leaves it
#   --first-install    also sets up the unit files, the environment file and the user; what of the
#                      environment is there already stays. Again, it brings newer unit files
#   --wait SECONDS     how long the release may take until it is ready (60)
#   --ssh-config FILE  of ssh, instead of ~/.ssh/config
#
# Ends with 0 when the release is ready, else with 1 and a line that says what is there now.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
source "$here/lib.sh"
source "$here/remote.sh"

first_install=
words=()
while (($# > 0)); do
  case $1 in
    --first-install) first_install=yes ;;
    -*) take_option "$@" && shift ;;
    *) words+=("$1") ;;
  esac
  shift
done
((${#words[@]} == 1 || ${#words[@]} == 2)) ||
  die "usage: scripts/deploy.sh [OPTION...] user@node [binary]; its head tells the options"

binary=${words[1]:-$here/../dist/orion-chat}
[[ -f $binary && -r $binary ]] || die "$binary is not there: scripts/build-release.sh makes dist/orion-chat"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -- "$binary" "$work/orion-chat"
cp "$here"/../packaging/env/orion-chat.env.example "$work/orion-chat.env"
mkdir "$work/systemd"
find "$here/../packaging/systemd" -maxdepth 1 -type f -name 'orion-chat*' -exec cp {} "$work/systemd/" \;
sum=$(sha256sum <"$work/orion-chat" | cut -d ' ' -f 1)

on_node "${words[0]}" "$work" deploy "$sum" "$wait_s" "$first_install"
