#!/usr/bin/env bash
# Leaves dist/orion-chat: one statically linked file that needs nothing of the machine it runs on.
# scripts/check-static.sh proves it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

need gcc=gcc libc.a=libc6-dev
command -v cargo >/dev/null || die "cargo is missing: install Rust"

target=x86_64-unknown-linux-gnu
rustc_flags=(
  -C target-feature=+crt-static
  # By default getrandom looks its system call up by name at run time, which finds nothing in a
  # static glibc; it then reads /dev/urandom, and an empty folder has no /dev.
  --cfg 'getrandom_backend="linux_getrandom"'
  # Panic messages name source files: call them the same on every machine. The last match wins.
  --remap-path-prefix "$PWD=/orion-chat"
  --remap-path-prefix "${CARGO_HOME:-$HOME/.cargo}=/cargo"
  --remap-path-prefix "$(rustc --print sysroot)=/rust"
)

# Set here and not in a configuration file: builds for development stay dynamic and quick. The
# encoded form allows for spaces in a path, and beats whatever RUSTFLAGS the caller has set.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${rustc_flags[*]}")
export CARGO_ENCODED_RUSTFLAGS

# With --target, for without it the flags would reach procedural macros, which cannot be static.
cargo build --release --locked --target "$target" --target-dir target

install -D -m 755 "target/$target/release/orion-chat" dist/orion-chat
printf 'dist/orion-chat: %d bytes, sha256 %s\n' \
  "$(stat -c %s dist/orion-chat)" "$(sha256sum dist/orion-chat | cut -d ' ' -f 1)"
