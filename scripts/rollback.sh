#!/usr/bin/env bash
# Goes back to the release that a node had before, and forth again if that is not ready.
#
#   scripts/rollback.sh [OPTION...] user@node
#
#   --with-data        also puts back the data as it was when the current release came, for a release
#                      that cannot read what that has made of it; what was written since is kept
#                      beside it, in a file
#   --wait SECONDS     how long the release may take until it is ready (60)
#   --ssh-config FILE  of ssh, instead of ~/.ssh/config
#
# Ends with 0 when the release is ready, else with 1 and a line that says what is there now.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
source "$here/lib.sh"
source "$here/remote.sh"

with_data=
words=()
while (($# > 0)); do
  case $1 in
    --with-data) with_data=yes ;;
    -*) take_option "$@" && shift ;;
    *) words+=("$1") ;;
  esac
  shift
done
((${#words[@]} == 1)) ||
  die "usage: scripts/rollback.sh [OPTION...] user@node; its head tells the options"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
on_node "${words[0]}" "$work" rollback "$wait_s" "$with_data"
