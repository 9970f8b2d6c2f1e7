#!/usr/bin/env bash
# The training environment → .perch/venv/. models/requirements.lock.txt pins every package by hash, for CPython 3.11 on
# x86-64; other machines take models/requirements.txt.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

list=$ROOT/models/requirements.lock.txt
locked=(--require-hashes --only-binary ':all:')
if [ "$(uname -m)" != x86_64 ] || ! python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    list=$ROOT/models/requirements.txt
    locked=()
    say "no hashes are pinned for this Python or processor; taking models/requirements.txt"
fi
[ -f "$list" ] || fail "$list is missing" "check out the repository whole"
stamp=$(sum_of "$list")
same_as "$STATE/venv/.stamp" "$stamp" && exit

say "making the training environment (about 520 MB, a minute or two)"
[ -x "$STATE/venv/bin/python" ] || python -m venv "$STATE/venv" || fail "no virtual environment could be made" "apt-get install python3-venv"
"$STATE/venv/bin/pip" install --quiet --disable-pip-version-check "${locked[@]}" --requirement "$list" ||
    fail "pip could not install what $list lists" "check the network and the disk's free space; delete $STATE/venv to start afresh"
# LightGBM is linked to OpenMP, which its wheel does not bring.
ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || apt_install libgomp1
echo "$stamp" >"$STATE/venv/.stamp"
