#!/usr/bin/env bash
# The wasm32 target. Two routes: rustup's prebuilt library where its server can be reached, else Debian's compiler and
# library source, with which cargo builds the library itself. Which one was taken is kept in .perch/wasm-route.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

TARGET=wasm32-unknown-unknown
WAIT=180

route=${PERCH_WASM_ROUTE:-}
case $route in '' | rustup | debian) ;; *) fail "PERCH_WASM_ROUTE is '$route'" "set it to rustup or debian, or unset it" ;; esac

by_rustup() {
    have rustup || return 1
    (cd "$ROOT" && rustup target list --installed 2>/dev/null | grep -qx "$TARGET") && return
    say "asking rustup for $TARGET"
    (cd "$ROOT" && timeout "$WAIT" rustup target add "$TARGET") >"$STATE/rustup.log" 2>&1
}

by_debian() { apt_install rustc-web cargo-web rust-web-src lld; }

taken() {
    same_as "$STATE/wasm-route" "$1" || say "wasm32 by way of $1 ($2)"
    echo "$1" >"$STATE/wasm-route"
}

if [ "$route" != debian ]; then
    if by_rustup; then
        taken rustup "its prebuilt standard library"
        exit
    fi
    [ "$route" = rustup ] &&
        fail "rustup could not add $TARGET: $(tail -n 1 "$STATE/rustup.log" 2>/dev/null)" \
            "let rustup reach its server, or unset PERCH_WASM_ROUTE to take Debian's compiler"
    say "rustup cannot add $TARGET here; taking Debian's compiler"
fi
by_debian
taken debian "rustc-web, and the standard library built from its source: the first build takes a minute or two longer"
