#!/usr/bin/env bash
# The training environment → .perch/venv/, from models/requirements.txt (hashes checked where it lists them).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

list=$ROOT/models/requirements.txt
[ -f "$list" ] || fail "$list is missing" "check out the repository whole"
stamp=$(sum_of "$list")
same_as "$STATE/venv/.stamp" "$stamp" && exit

say "making the training environment (about 520 MB, a minute or two)"
[ -x "$STATE/venv/bin/python" ] || python -m venv "$STATE/venv" || fail "no virtual environment could be made" "apt-get install python3-venv"
hashes=()
grep -q -- '--hash=' "$list" && hashes=(--require-hashes)
"$STATE/venv/bin/pip" install --quiet --disable-pip-version-check "${hashes[@]}" --requirement "$list" ||
    fail "pip could not install what models/requirements.txt lists" "check the network and the disk's free space; delete $STATE/venv to start afresh"
# LightGBM is linked to OpenMP, which its wheel does not bring.
ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || apt_install libgomp1
echo "$stamp" >"$STATE/venv/.stamp"
