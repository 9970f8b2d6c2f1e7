#!/usr/bin/env bash
# What building and running need of the system: a C compiler (SQLite, zstd), setsid, the Rust of rust-toolchain.toml
# (which rustup takes by itself) or a newer one.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")
have cargo || fail "cargo is not on the PATH" "install rustup, which takes Rust $wanted here: https://rustup.rs"
found=$(cd "$ROOT" && cargo --version 2>/dev/null | cut -d' ' -f2 || true)
[ -n "$found" ] || fail "rustup has no Rust $wanted, which rust-toolchain.toml asks for" "rustup toolchain install $wanted"
[ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $found is older than $wanted" "rustup toolchain install $wanted"

have cc || apt_install gcc libc6-dev
have setsid || apt_install util-linux
