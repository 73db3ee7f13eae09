#!/usr/bin/env bash
# Calls each route of /openapi.json as its description allows, and as it forbids, and checks the
# answers against it: schemathesis, as one user of a debug server without data.
#
#   scripts/check-openapi.sh [EXAMPLES [SEED]]     calls made up for each route and phase; 50 and 1
#                                                  if not given
#
# ORION_CHAT names another server to test than target/debug/orion-chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
source scripts/server.sh

examples=${1:-50}
seed=${2:-1}
[[ $examples =~ ^[1-9][0-9]*$ ]] || die "EXAMPLES is $examples; it must be a whole number from 1"

version=4.32.5
venv=$PWD/target/venv
need python3=python3 venv=python3-venv
if [[ $("$venv/bin/schemathesis" --version 2>/dev/null) != *" $version" ]]; then
  python3 -m venv --clear "$venv" || die "python3 -m venv $venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "schemathesis==$version" ||
    die "pip install schemathesis==$version, which needs Python 3.11 or newer"
fi

if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
# With tokens a userId may be left out, as the description says; the hooks sign one with this.
export ORION_SHARED_JWT_SECRET='a secret for these calls, and for none other'
start "${ORION_CHAT:-target/debug/orion-chat}" \
  --listen 127.0.0.1:0 --rate-limit 0 --data "$work/orion-chat.redb" || die_of_server "the server does not start"

contract=$PWD/tests/contract
run=("$venv/bin/schemathesis" --config-file "$contract/schemathesis.toml" run "$url/openapi.json"
  --phases "examples,coverage,fuzzing,stateful" --checks all
  --max-examples "$examples" --seed "$seed")
# From $work, since it leaves what it found in the current folder.
(cd "$work" && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$contract "${run[@]}") ||
  die_of_server "answers are not as described (seed $seed)"

stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
