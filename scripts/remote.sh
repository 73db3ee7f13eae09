# shellcheck shell=bash
# How deploy.sh and rollback.sh reach a node: sourced after lib.sh, with $here
# the folder of the scripts, never run.

# shellcheck disable=SC2034 # for who sources this
wait_s=60
ssh=(ssh -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3)

# take_option OPTION VALUE: reads one that both scripts have.
take_option() {
  case $1 in
    --wait)
      [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] || die "--wait takes seconds, from 1 to 9999"
      wait_s=$2
      ;;
    --ssh-config)
      [[ -r ${2:-} ]] || die "--ssh-config takes a file of ssh's configuration that can be read"
      ssh+=(-F "$(realpath -- "$2")")
      ;;
    *) die "unknown option $1; see the head of $0" ;;
  esac
}

# Runs on the node: unpacks what is brought into a folder of its own, and runs node.sh there as root.
# shellcheck disable=SC2016 # the node expands it
bootstrap='
set -eu
trap "" HUP PIPE
folder=$(mktemp -d)
trap "rm -rf \"$folder\"" EXIT
tar -xf - -C "$folder" || { echo "FAILED: the upload broke off; nothing was changed" >&2; exit 1; }
as_root=
if [ "$(id -u)" != 0 ]; then
  as_root="sudo -n"
  $as_root true 2>/dev/null || {
    echo "FAILED: $(id -un) may not use sudo without a password on the node; nothing was changed: allow it, or come as root" >&2
    exit 1
  }
fi
$as_root sh "$folder/node.sh" "$@"
'

# shellcheck disable=SC2154 # $here is set by who sources this
# on_node NODE FOLDER VERB ARGUMENT...: brings what is in FOLDER to the node, and does a verb of node.sh
# there, all in one connection.
on_node() {
  local node=$1 folder=$2 status=0 words=
  shift 2
  [[ $node != -* && -n $node ]] || die "name the node, as in user@node"
  cp "$here/node.sh" "$folder/"
  words=$(quoted "$bootstrap" node "$@")
  tar -C "$folder" -cf - . | "${ssh[@]}" -C -- "$node" "sh -c $words" || status=$?
  ((status != 255)) || die "the connection to $node failed or broke off; the node ends by itself what it has begun"
  return "$status"
}

# Each word as the node's shell reads it back.
quoted() {
  local word
  for word; do printf " '%s'" "${word//\'/\'\\\'\'}"; done
}
