#!/usr/bin/env bash
# Calls each route of /openapi.json as its description allows, and as it forbids, and checks the
# answers against it: schemathesis, as one user of a debug server without data.
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
venv=$PWD/target/venv
need python3=python3 venv=python3-venv
if [[ $("$venv/bin/schemathesis" --version 2>/dev/null) != *" $version" ]]; then
  python3 -m venv --clear "$venv" || die "python3 -m venv $venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "schemathesis==$version" ||
    die "pip install schemathesis==$version, which needs Python 3.11 or newer"
fi

# token SECRET: a token for a day. With tokens a userId may be left out, as the description says;
# and schemathesis sees to it that no route forgets to ask for one.
token() {
  python3 - "$1" <<'EOF_PYTHON'
import base64, hashlib, hmac, json, sys, time

def part(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=")

claims = {"sub": "ada@example.org", "iss": "https://www.sidekickportal.com", "aud": "orion-core",
          "exp": int(time.time()) + 86400}
signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
signature = hmac.new(sys.argv[1].encode(), signed, hashlib.sha256).digest()
print((signed + b"." + part(signature)).decode())
EOF_PYTHON
}

if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
secret='a secret for these calls, and for none other'
start env -i ORION_SHARED_JWT_SECRET="$secret" "${ORION_CHAT:-target/debug/orion-chat}" \
  --listen 127.0.0.1:0 --data "$work/orion-chat.redb" || die_of_server "the server does not start"

run=("$venv/bin/schemathesis" --config-file "$PWD/scripts/fuzz-api.toml" run "$url/openapi.json"
  --header "Authorization: Bearer $(token "$secret")"
  --phases "examples,coverage,fuzzing,stateful" --max-examples "$examples")
# From $work, since it leaves what it found in the current folder.
(cd "$work" && "${run[@]}") ||
  die_of_server "answers are not as described; with --seed and the seed above they come again"

stop TERM
((status == 0)) || die "exit code $status after SIGTERM: $(tail -n 3 "$log")"
