#!/usr/bin/env bash
# What Grafana's dashboard is typed and checked with (lock file).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

dir=$ROOT/grafana
stamp=$(sum_of "$dir/package-lock.json")
same_as "$dir/node_modules/.stamp" "$stamp" && exit
have npm || apt_install npm
say "fetching the dashboard's types"
(cd "$dir" && npm ci --silent --no-audit --no-fund --ignore-scripts) ||
    fail "npm could not install what grafana/package-lock.json lists" "check the network and that node is 20 or newer"
echo "$stamp" >"$dir/node_modules/.stamp"
