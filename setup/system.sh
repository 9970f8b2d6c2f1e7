#!/usr/bin/env bash
# Checks and installs what building and running need of the system: a C compiler (SQLite, zstd), setsid, the pinned Rust.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
have cargo || fail "cargo is not on the PATH" "install Rust $wanted or newer: https://rustup.rs"
found=$(cargo --version | cut -d' ' -f2)
[ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $found is older than $wanted" "rustup update stable"
# Programs build with any newer one; lints and formatting are those of the pinned one.
case $found in
"$wanted" | "$wanted".*) ;;
*)
    same_as "$STATE/rust.stamp" "$found" ||
        say "Rust $found is newer than $wanted, with which CI checks. If \`make lint\` differs: rustup toolchain install $wanted, then RUSTUP_TOOLCHAIN=$wanted make lint"
    echo "$found" >"$STATE/rust.stamp"
    ;;
esac

have cc || apt_install gcc libc6-dev
have setsid || apt_install util-linux
