#!/usr/bin/env bash
# How cost grows with what is stored: 10 thousand, 1 million and 10 million messages, a user with
# 100,000 sessions, a session with 1 million messages, and up to 5,000 WebSockets of one user.
#
#   scripts/bench-growth.sh [--quick] [--rounds 3] [--seconds 6]
#
# Takes about an hour, and 30 GB in target/bench; --quick takes a minute once all is built, and says no
# more than that it works. ORION_CHAT names another binary to measure than dist/orion-chat, which is
# built first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

for argument in "$@"; do
  case $argument in -h | --help) exec python3 scripts/bench/growth.py --help ;; esac
done

need wrk=wrk python3=python3 gcc=gcc
command -v cargo >/dev/null || die "cargo is missing: install Rust"
if [[ ! ${ORION_CHAT:-} ]]; then scripts/build-release.sh; fi
cargo build --release --locked --manifest-path scripts/bench/rivals/Cargo.toml \
  --target-dir target/bench/cargo || die "the rivals were not built"
# Each WebSocket is a descriptor at both of its ends.
ulimit -n "$(ulimit -Hn)"

exec python3 scripts/bench/growth.py "$@"
