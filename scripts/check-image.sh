#!/usr/bin/env bash
# Does what the last stage of packaging/docker/Dockerfile says, without an engine: lays out a root,
# runs the program in it as the image's user, and its health check. One line a check; stops at the
# first that fails. That an engine reads the file as we do is not shown. Needs root, for the user.
#
#   scripts/check-image.sh [BINARY]     dist/orion-chat if not given
set -euo pipefail
binary=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../dist/orion-chat}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

ok() { printf 'ok: %s\n' "$*"; }

dockerfile=packaging/docker/Dockerfile
[[ -x $binary ]] || die "$binary is not there: run scripts/build-release.sh first"
if ((EUID != 0)); then
  echo "not checked: the image, whose user only root can become"
  exit
fi
image=$(sed -n '/^FROM scratch$/,$p' "$dockerfile")
[[ $image ]] || die "$dockerfile has no stage FROM scratch"
[[ $image != *$'\nRUN'* ]] || die "$dockerfile runs something where there is nothing to run"

# argument KEYWORD: what stands behind it; words_of KEYWORD: the words of its array.
argument() { sed -n "s/^$1 //p" <<<"$image"; }
words_of() {
  local array
  array=$(argument "$1" | grep -o '\[".*"\]$') || die "$dockerfile: $1 is no array, and there is no shell"
  sed 's/^\["//; s/"\]$//; s/", "/\n/g' <<<"$array"
}

# ---- its root ----

root=$work/root
mkdir "$root"
chmod 755 "$work"
while read -r from owner_or_mode source target; do
  [[ $from == --from=build ]] || die "$dockerfile: COPY $from is not understood here"
  case $source in
    /src/dist/orion-chat) install "$binary" "$root$target" ;;
    /data)
      grep -q '^RUN .*mkdir -m 0700 /data$' "$dockerfile" || die "$dockerfile makes no /data of mode 0700"
      mkdir -m 700 "$root$target"
      ;;
    *) die "$dockerfile: COPY of $source is not understood here" ;;
  esac
  case $owner_or_mode in
    --chown=*) chown "${owner_or_mode#--chown=}" "$root$target" ;;
    --chmod=*) chmod "${owner_or_mode#--chmod=}" "$root$target" ;;
  esac
done < <(argument COPY)
user=$(argument USER)
[[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || die "$dockerfile: USER $user is not two numbers, and there is no /etc/passwd"
read -ra variables < <(argument ENV)
mapfile -t program < <(words_of ENTRYPOINT)
mapfile -t health < <(words_of HEALTHCHECK)
ok "the root has $(cd "$root" && echo *), and its program is ${program[*]}"

# ---- a container ----

inside=("$(command -v chroot)" --userspec="$user" "$root")
status=0
said=$(env -i "${variables[@]}" "${inside[@]}" "${program[@]}" 2>&1) || status=$?
((status == 78)) && [[ $said == *ORION_SHARED_JWT_SECRET* ]] ||
  die "without a secret it ended with $status for 78, or does not say which: $said"
ok "without a secret it does not start, and says so (78)"

variables+=("ORION_CHAT_LISTEN=127.0.0.1:0") # as the port may be taken on this machine
start env -i "${variables[@]}" ORION_SHARED_JWT_SECRET='a secret that is long enough for this check' \
  "${inside[@]}" "${program[@]}" || die_of_server "does not start as user $user"
[[ $(stat -c '%u:%g %a' "$root/data/orion-chat.redb") == "$user 600" ]] || die_of_server "its data is not its own"
ok "it serves as user $user, from a root of nothing else, and the data in /data is its own"

check() { env -i "${variables[@]}" "ORION_CHAT_LISTEN=${url#http://}" "${inside[@]}" "${health[@]}"; }
check || die_of_server "its health check says that it is not healthy"
stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
! check 2>/dev/null || die "its health check says of one that is stopped that it is healthy"
ok "its health check tells one that serves from one that does not"
