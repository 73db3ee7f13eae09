#!/usr/bin/env bash
# The API as a page in a real browser uses it: tests/browser, with Debian's Chromium and a debug
# server. The page is served from http://localhost:3000, so that port and 3001 have to be free.
#
# ORION_CHAT names another server to test than target/debug/orion-chat, CHROMIUM another browser.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

packages=(node=nodejs npm=npm)
if [[ ! ${CHROMIUM:-} ]]; then packages+=(chromium=chromium); fi
need "${packages[@]}"

# npm leaves this file when all is installed.
installed=tests/browser/node_modules/.package-lock.json
[[ $installed -nt tests/browser/package-lock.json ]] ||
  npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund || die "npm ci"

export CHROMIUM=${CHROMIUM:-$(command -v chromium)}
if [[ ! ${ORION_CHAT:-} ]]; then cargo build --locked; fi
exec node tests/browser/main.mjs
