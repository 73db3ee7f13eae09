#!/usr/bin/env bash
# What packaging/systemd/ promises, as far as it can be tried where systemd does not run: that it
# understands every line, how well the services are shut in, that they are not shut in too much, and
# that a socket that systemd opened is served. One line a check; stops at the first that fails.
#
# ORION_CHAT names another server to test than target/debug/orion-chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

ok() { printf 'ok: %s\n' "$*"; }

# wait_for TEXT: waits for TEXT in the log, for 10 s. Fails when the server ends before.
wait_for() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    if grep -q "$1" "$log"; then return; fi
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

need curl=curl strace=strace systemd-analyze=systemd systemd-socket-activate=systemd
if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
binary=$(realpath "${ORION_CHAT:-target/debug/orion-chat}")
units=(packaging/systemd/orion-chat{.service,.socket,-backup.service,-backup.timer})

# ---- what systemd makes of them ----

# A machine on which they are installed, with the examples of drop-ins where they belong.
tree=$work/tree
etc=$tree/etc/systemd/system
install -D -t "$tree/usr/local/bin" "$binary"
install -D -m 755 /dev/null "$tree/bin/sh" # no more than its name is looked at
install -D -m 644 -t "$etc" "${units[@]}"
for target in sysinit basic shutdown sockets timers multi-user network; do
  install -D -m 644 /dev/null "$tree/usr/lib/systemd/system/$target.target"
  printf '[Unit]\nDescription=%s\n' "$target" >"$tree/usr/lib/systemd/system/$target.target"
done
for example in packaging/systemd/drop-in-examples/*.conf; do
  unit=orion-chat.service
  [[ $example != */backup-* ]] || unit=orion-chat-backup.service
  install -D -m 644 -t "$etc/$unit.d" "$example"
done

names=("${units[@]##*/}")
verify() { systemd-analyze verify --man=no --recursive-errors=yes --root="$tree" "${names[@]}" 2>&1; }
problems=$(verify) && [[ ! $problems ]] || die "systemd does not understand a unit: $problems"
sed -i 's/^WatchdogSec=/WatchdogSecs=/' "$etc/orion-chat.service"
! verify >/dev/null || die "a key that is misspelt is not noticed: this check is worth nothing"
ok "systemd understands ${#units[@]} units and $(ls packaging/systemd/drop-in-examples | wc -l) examples of drop-ins"

# ---- how well the services are shut in ----

for unit in packaging/systemd/*.service; do
  score=$(systemd-analyze security --offline=true --threshold=15 "$unit") ||
    die "$unit: $(tail -n 1 <<<"$score"); 1.5 is what it may be"
  ok "${unit##*/} is shut in: $(sed -n 's/.*level for [^:]*: \([0-9.]* [A-Z]*\).*/\1/p' <<<"$score")"
done

# ---- and not too much ----

# set_of NAME: the system calls of a set such as @system-service.
set_of() {
  local call
  while read -r call _; do
    case $call in
      '#'* | '') ;;
      @*) set_of "$call" ;;
      *) printf '%s\n' "$call" ;;
    esac
  done < <(systemd-analyze syscall-filter "$1" | tail -n +2)
}

for unit in packaging/systemd/*.service; do
  mapfile -t filter < <(sed -n 's/^SystemCallFilter=//p' "$unit")
  [[ ${#filter[@]} == 2 && ${filter[1]} == '~'* ]] || die "$unit has another kind of SystemCallFilter="
  for name in ${filter[0]}; do set_of "$name"; done | sort -u >"$work/allowed"
  for name in ${filter[1]#\~}; do set_of "$name"; done | sort -u >"$work/denied"
  comm -23 "$work/allowed" "$work/denied" >"$work/${unit##*/}.calls"
done

# calls_within UNIT TRACE: checks that UNIT allows the calls of TRACE, and sets $calls to their number.
calls_within() {
  local beyond
  sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "$2" | sort -u >"$work/used"
  calls=$(wc -l <"$work/used")
  ((calls > 20)) || die "strace has seen $calls kinds of system calls, which cannot be all"
  beyond=$(comm -23 "$work/used" "$work/$1.calls" | xargs)
  [[ ! $beyond ]] || die "$1 does not allow what orion-chat does: $beyond"
}

# What a server does from its start to its end, and a backup beside it. -D: $server is the server
# itself, and not strace.
export STATE_DIRECTORY=$work/state
mkdir "$STATE_DIRECTORY"
printf '%s\n' 'a secret that is long enough for this check' >"$work/secret"
serve=(env "ORION_SHARED_JWT_SECRET_FILE=$work/secret" "$binary" --listen 127.0.0.1:0)
start strace -D -f -qq -o "$work/trace" "${serve[@]}" || die_of_server "does not start under strace"
token=$(ORION_SHARED_JWT_SECRET_FILE=$work/secret "$binary" token ann)
body='{"sessionId":"s","firstMessage":"hi","role":"user","content":"ho"}'
for request in "create -d $body" "save-message -d $body" list; do
  read -ra request <<<"$request"
  curl -q -gsSf --noproxy '*' -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
    "${request[@]:1}" "$url/api/sessions/${request[0]}" >"$work/answer" || die_of_server "${request[0]} fails"
done
kill -HUP "$server"
wait_for 'reloaded secrets' || die_of_server "does not reload on SIGHUP"
strace -f -qq -o "$work/trace.backup" "$binary" backup --into "$work/state/backups" --keep 2 \
  >"$work/answer" 2>&1 || die_of_server "no backup: $(<"$work/answer")"
stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
calls_within orion-chat.service "$work/trace"
ok "orion-chat.service allows the $calls system calls that the server makes"
calls_within orion-chat-backup.service "$work/trace.backup"
ok "orion-chat-backup.service allows the $calls system calls that a backup makes"

# ---- a socket that systemd opened ----

for ((tries = 0; tries < 20; tries++)); do
  address=127.0.0.1:$((RANDOM % 20000 + 30000))
  : >"$log"
  systemd-socket-activate -l "$address" --fdname=orion-chat.socket -E "STATE_DIRECTORY=$work/state" \
    "$binary" 2>>"$log" &
  server=$!
  ! wait_for 'Listening on' || break
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
done
((tries < 20)) || die "systemd-socket-activate does not listen: $(<"$log")"
curl -q -gsSf --noproxy '*' --max-time 20 "http://$address/ready" >"$work/answer" ||
  die_of_server "does not serve the first who connects to a socket of systemd's"
grep -q "listening on http://$address" "$log" || die_of_server "listens elsewhere: $(<"$log")"
stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
ok "systemd-socket-activate starts it with the first connection, which is served"

# ---- the examples beside it ----

grep -q 'service: http://127\.0\.0\.1:3002$' packaging/cloudflared/config.yml.example &&
  [[ $(grep -v '^ *#' packaging/cloudflared/config.yml.example | tail -n 1) == '  - service: http_status:404' ]] ||
  die "packaging/cloudflared/config.yml.example does not lead to the default address, or has no last rule"
ok "the tunnel's example leads to the default address"
