#!/usr/bin/env bash
# Sends what the OpenAPI document allows, and what it does not, to a server of its own, and checks
# that it answers as the document says. The server is target/debug/orion-chat, built here.
#
#   scripts/check-openapi.sh [MAX-EXAMPLES [SEED]]     by default 50 for each operation, and seed 1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

examples=${1:-50}
seed=${2:-1}
version=4.32.5

# A system's Python may be without `ensurepip`, which makes environments.
python3 -c 'import ensurepip' 2>/dev/null ||
  die "python3-venv is missing: apt-get install python3-venv"
tools=$PWD/target/schemathesis-$version
if [[ ! -x $tools/bin/st ]]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install -q "schemathesis==$version" || die "pip install schemathesis==$version"
fi
cargo build -q --locked

work=$(mktemp -d)
server=
cleanup() {
  if [[ $server ]]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Tokens are what tells callers apart in earnest; the hooks sign one with the same secret.
export ORION_SHARED_JWT_SECRET='a secret for this test alone, of 32 bytes or more'
: >"$work/stderr" # read below, maybe before the server has begun
target/debug/orion-chat --listen 127.0.0.1:0 --data "$work/test.redb" 2>"$work/stderr" &
server=$!
for ((tries = 0; tries < 200; tries++)); do
  url=$(sed -n 's/.*listening on \(http:[^ ]*\)$/\1/p' "$work/stderr")
  [[ ! $url ]] || break
  kill -0 "$server" 2>/dev/null || die "the server ended: $(tail -n 3 "$work/stderr")"
  sleep 0.05
done
[[ $url ]] || die "the server does not listen: $(tail -n 3 "$work/stderr")"

contract=$PWD/tests/contract
cd "$work" # where schemathesis leaves its notes
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$contract "$tools/bin/st" \
  --config-file "$contract/schemathesis.toml" run "$url/openapi.json" \
  --phases examples,coverage,fuzzing,stateful --checks all --max-examples "$examples" \
  --seed "$seed" || die "the server does not do as its document says (seed $seed)"
kill -0 "$server" 2>/dev/null || die "the server ended: $(tail -n 3 "$work/stderr")"
