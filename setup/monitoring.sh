#!/usr/bin/env bash
# Prometheus and Alertmanager → .perch/bin/. Debian's packages, taken as files: installing them on a machine with systemd
# would start services of their own on the same ports. apt checks the signatures.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Debian's Alertmanager reads its built-in templates from there, wherever its program lies, and does not start without.
templates=/usr/share/prometheus/alertmanager
[ -x "$STATE/bin/prometheus" ] && [ -x "$STATE/bin/prometheus-alertmanager" ] && [ -f "$templates/default.tmpl" ] && exit
apt_lists
say "fetching Prometheus and Alertmanager (30 MB)"
work=$(mktemp -d "$STATE/deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
# As root apt fetches as another user, who must be able to write there.
chmod 755 "$STATE" "$work"
(cd "$work" && apt-get download -qq prometheus prometheus-alertmanager) >"$STATE/apt.log" 2>&1 ||
    fail "apt-get could not fetch prometheus and prometheus-alertmanager: $(tail -n 1 "$STATE/apt.log")" \
        "check the network; the stack also runs without them: make up MONITORING=no"
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/files"; done
for program in prometheus promtool amtool; do cp "$work/files/usr/bin/$program" "$STATE/bin/"; done
cp "$work/files/usr/bin/prometheus-alertmanager" "$STATE/bin/alertmanager"
[ -f "$templates/default.tmpl" ] ||
    as_root install -D -m 644 -t "$templates" "$work/files$templates"/*.tmpl ||
    fail "Alertmanager's templates could not be put into $templates" "make that directory writable, then run this again"
# By Debian's name too.
ln -sf alertmanager "$STATE/bin/prometheus-alertmanager"
"$STATE/bin/prometheus" --version >/dev/null 2>&1 || fail "the fetched Prometheus does not run" "read: $STATE/bin/prometheus --version"
say "$("$STATE/bin/prometheus" --version 2>&1 | sed -n 's/^prometheus, version \([^ ]*\).*/Prometheus \1/p')"
