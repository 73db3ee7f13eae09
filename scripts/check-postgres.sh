#!/usr/bin/env bash
# Tries what is promised of a node beside PostgreSQL, against Debian's PostgreSQL and PgBouncer,
# which each test starts for itself.
#
#   scripts/check-postgres.sh [OPTION...]     options of cargo nextest run, such as a name
#
# ORION_CHAT_FULL=1 takes the figures of a release, which last an hour or two, and prints them; best
# with --cargo-profile release --no-capture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

need initdb=postgresql pgbouncer=pgbouncer faketime=faketime
cargo nextest run --locked --profile postgres "$@" || die "a node beside PostgreSQL"
