#!/usr/bin/env bash
# Every check of this repository, cheapest first; stops at the first that fails. Needs Rust with
# rustfmt and clippy, and installs the rest.
#
#   scripts/test.sh [--quick] [--advisories]
#
#   --quick       leaves out PostgreSQL, the browser, the calls made up from /openapi.json, the
#                 suites of others, the torture, the release build, and the checks of its binary, its
#                 delivery and its package
#   --advisories  also checks the dependencies for known vulnerabilities, against a database that
#                 cargo-deny fetches
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

quick=
advisories=
for argument in "$@"; do
  case $argument in
    --quick) quick=yes ;;
    --advisories) advisories=yes ;;
    *) die "unknown option $argument; there are --quick and --advisories" ;;
  esac
done

step() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" || die "$name, after $((SECONDS - start)) s: $*"
  printf '== %s: passed in %d s\n' "$name" $((SECONDS - start))
}

# need_cargo TOOL VERSION: installs cargo-TOOL when there is none, or one that is older or of
# another release line. Unoptimised and without debug information: built sooner, and fast enough.
need_cargo() {
  local tool=$1 version=$2 found
  found=$(cargo "$tool" --version 2>/dev/null | sed -n "1s/^cargo-$tool \([^ ]*\).*/\1/p") || true
  if [[ $found == "${version%.*}".* ]] && printf '%s\n' "$version" "$found" | sort -V -C; then
    return
  fi
  step "install cargo-$tool" env CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install "cargo-$tool" --locked --version "$version" --debug --force
}

need curl=curl file=file gcc=gcc libc.a=libc6-dev readelf=binutils
command -v cargo >/dev/null || die "cargo is missing: install Rust"
for component in fmt:rustfmt clippy:clippy; do
  cargo "${component%:*}" --version >/dev/null 2>&1 ||
    die "cargo ${component%:*} is missing: rustup component add ${component#*:}"
done
need_cargo nextest 0.9.143
need_cargo deny 0.20.2

profile=default
if [[ ${CI:-} ]]; then profile=ci; fi

step format cargo fmt --check
step lints cargo clippy --locked --all-targets -- -D warnings
step documentation env RUSTDOCFLAGS='-D warnings' \
  cargo doc --locked --no-deps --document-private-items
# The examples before the tests, so that the last count printed is that of the tests.
step examples cargo test --doc --locked
step tests cargo nextest run --locked --profile "$profile"
if [[ $quick ]]; then
  printf '\nnot checked: PostgreSQL, the API in a browser, against its own description and by the suites\n'
  printf 'of others, torture (--quick)\n'
else
  step PostgreSQL scripts/check-postgres.sh
  step browser scripts/browser.sh
  step 'made-up calls' scripts/check-openapi.sh
  step 'suites of others' scripts/check-suites.sh
  step torture scripts/torture.sh
fi
step units scripts/check-systemd.sh
step OpenRC scripts/check-openrc.sh
step metrics scripts/check-metrics.sh
step dependencies cargo deny --locked check bans licenses sources
if [[ $advisories ]]; then
  step advisories cargo deny --locked check advisories
else
  printf '\nnot checked: known vulnerabilities, as they are fetched from outside (--advisories)\n'
fi
if [[ $quick ]]; then
  printf '\nnot checked: the release binary, its delivery and its package (--quick)\n'
else
  step 'release build' scripts/build-release.sh
  step 'static binary' scripts/check-static.sh
  step image scripts/check-image.sh
  step delivery scripts/test-deploy.sh
  step 'Debian package' scripts/check-deb.sh
fi

printf '\nall checks passed in %d s\n' "$SECONDS"
