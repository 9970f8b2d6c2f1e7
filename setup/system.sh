#!/usr/bin/env bash
# What building and running need of the system: a C compiler (SQLite, zstd), setsid, a Rust that is new enough.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
have cargo || fail "cargo is not on the PATH" "install Rust $wanted or newer: https://rustup.rs"
found=$(cargo --version | cut -d' ' -f2)
[ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $found is older than $wanted" "rustup update stable"

have cc || apt_install gcc libc6-dev
have setsid || apt_install util-linux
