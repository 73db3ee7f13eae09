#!/usr/bin/env bash
# Has Prometheus itself check what the admin listener tells, and the alerts on it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

# The program alone: its package would start a server.
need curl=curl dpkg=dpkg
PATH=$PATH:$PWD/target/promtool/usr/bin
if ! command -v promtool >/dev/null; then
  command -v apt-get >/dev/null || die "promtool is missing on this machine: install Prometheus"
  apt-get update -q </dev/null || ((EUID != 0)) || die "apt-get update"
  (cd "$work" && apt-get download -q prometheus) || die "apt-get download prometheus"
  dpkg -x "$work"/prometheus_*.deb target/promtool || die "dpkg -x prometheus"
fi

promtool check rules packaging/prometheus/alerts.yml

if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
start "${ORION_CHAT:-target/debug/orion-chat}" --auth off --data "$work/test.redb" \
  --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 || die_of_server 'the server did not start'
admin=$(sed -nE 's|.*metrics on (http://[][0-9A-Za-z.:]+)/metrics.*|\1|p' "$log")
[[ $admin ]] || die "no admin listener in the log"

# Something of each kind to tell.
curl -fsS -o "$work/created" -H 'Content-Type: application/json' "$url/api/sessions" \
  -d '{"userId":"test","firstMessage":"hello"}'
curl -sS -o "$work/unknown" "$url/no/such/path"
curl -fsS "$admin/metrics" >"$work/metrics"
[[ $(grep -c '^orion_chat_messages 1$' "$work/metrics") == 1 ]] || die "no message is counted"

# What it only advises on is a matter of taste, and would end it with 3.
promtool check metrics <"$work/metrics" || [[ $? == 3 ]] || die "promtool cannot read the metrics"
stop TERM
[[ $status == 0 ]] || die "the server ended with $status"
echo "Prometheus understands $(grep -c '^[a-z]' "$work/metrics") values and the alerts on them"
