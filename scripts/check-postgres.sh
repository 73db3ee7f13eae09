#!/usr/bin/env bash
# Tries what is promised of a node beside PostgreSQL, against Debian's PostgreSQL and PgBouncer,
# which each test starts for itself: the servers, the links between them and the last look that the
# scenarios use. The scenarios themselves are run with --ignore-default-filter, as not all of them
# hold yet.
#
#   scripts/check-postgres.sh [OPTION...]     options of cargo nextest run, such as a name
#
# ORION_CHAT_FULL=1 takes the figures of a release, which last an hour or more, and prints them with
# --no-capture. ORION_CHAT names another binary to try than target/debug/orion-chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

need initdb=postgresql pgbouncer=pgbouncer faketime=faketime openssl=openssl strace=strace
cargo nextest run --locked --profile postgres "$@" || die "a node beside PostgreSQL"
