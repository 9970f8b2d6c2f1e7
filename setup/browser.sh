#!/usr/bin/env bash
# Chromium and the browser tests' packages (lock file). The browsers that Playwright would download are not fetched.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

have chromium || apt_install chromium
dir=$ROOT/tests/browser
[ -f "$dir/package-lock.json" ] || exit 0
stamp=$(sum_of "$dir/package-lock.json")
same_as "$dir/node_modules/.stamp" "$stamp" && exit
have npm || apt_install npm
say "fetching the browser tests' packages"
(cd "$dir" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --silent --no-audit --no-fund) ||
    fail "npm could not install what tests/browser/package-lock.json lists" "check the network and that node is 20 or newer"
echo "$stamp" >"$dir/node_modules/.stamp"
