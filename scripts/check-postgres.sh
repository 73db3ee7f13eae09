#!/usr/bin/env bash
# Tries what is promised of a node beside PostgreSQL, against Debian's PostgreSQL and PgBouncer,
# which each test starts for itself: what fails, and what both sides hold in the end.
#
#   scripts/check-postgres.sh [OPTION...]     options of cargo nextest run, such as a name;
#                                             --ignore-default-filter runs the rest too
#
# ORION_CHAT_FULL=1 takes the figures of a release, which last an hour or more, one after another, and
# prints them with --no-capture. ORION_CHAT_TIMED=1 measures no more than how soon saves are answered
# meanwhile. Both want a machine that does nothing else and has 2 GB in /dev/shm for PostgreSQL.
# ORION_CHAT names another binary to try than target/debug/orion-chat; one that is static has no other
# clock than the machine's, which some tests want.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

need initdb=postgresql pgbouncer=pgbouncer faketime=faketime openssl=openssl strace=strace
profile=postgres
if [[ -n ${ORION_CHAT_FULL:-}${ORION_CHAT_TIMED:-} ]]; then
  profile=postgres-full
  # What a build left to be written would be written half a minute later, and saves would wait for the disk.
  cargo nextest run --locked --profile "$profile" --no-run
  sync
fi
cargo nextest run --locked --profile "$profile" "$@" || die "a node beside PostgreSQL"
