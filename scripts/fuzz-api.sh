#!/usr/bin/env bash
# Calls each route of /openapi.json as its description allows, and as it forbids, and checks the
# answers against it: schemathesis, on a debug server without data.
#
#   scripts/fuzz-api.sh [EXAMPLES]     calls made up for each route and phase; 50 if not given
#
# ORION_CHAT names another server to test than target/debug/orion-chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

examples=${1:-50}
[[ $examples =~ ^[1-9][0-9]*$ ]] || die "EXAMPLES is $examples; it must be a whole number from 1"

version=4.32.5
venv=target/venv
need python3=python3 venv=python3-venv
if [[ $("$venv/bin/schemathesis" --version 2>/dev/null) != *" $version" ]]; then
  python3 -m venv --clear "$venv" || die "python3 -m venv $venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "schemathesis==$version" ||
    die "pip install schemathesis==$version, which needs Python 3.11 or newer"
fi

if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
start env -i "${ORION_CHAT:-target/debug/orion-chat}" --auth off --listen 127.0.0.1:0 \
  --data "$work/orion-chat.redb" || die_of_server "the server does not start"

run=("$venv/bin/schemathesis" run "$url/openapi.json"
  --phases "examples,coverage,fuzzing,stateful" --max-examples "$examples"
  # What it finds goes to the log, and not into a folder of this repository.
  --generation-database none)
"${run[@]}" || die_of_server "answers are not as described (the seed above repeats the run)"

stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
