#!/bin/sh
# Proof of the migration on files that older releases of NeMo write themselves.
#
#     sh benchmarks/migration.sh FOLDER        (7 GB of disk, half an hour at first, minutes again)
#
# Makes an environment for each release in FOLDER, outside this repository; lets that release build small models, save
# them and say what they make of fixed tokens; migrates the files and compares. Writes benchmarks/migration.md.
# Not part of `make test`. Python 3.11, Linux, x86-64; no GPU.
set -eu

[ $# -eq 1 ] || { echo "usage: sh benchmarks/migration.sh FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
python=${PYTHON:-python3.11}
releases="1.23.0 2.7.3"  # the newest of NeMo 1 and 2

for release in $releases; do
    venv=$folder/nemo-$release
    if [ ! -f "$venv/.complete" ]; then
        echo "migration: an environment for NeMo $release in $venv"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        # those of constraints.txt: this torch for all, so that what differs is NeMo
        "$venv/bin/python" -m pip --disable-pip-version-check install -q pip==25.3 setuptools==80.10.2 wheel torch==2.13.0
        "$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -r "$here/old_releases/nemo-$release.txt"
        touch "$venv/.complete"
    fi
    files=$folder/files-$release
    rm -rf "$files"
    echo "migration: NeMo $release writes its files into $files"
    if ! OMP_NUM_THREADS=1 "$venv/bin/python" "$here/old_releases/write_files.py" "$files" >"$folder/$release.log" 2>&1; then
        tail -n 20 "$folder/$release.log" >&2
        echo "migration: NeMo $release failed; all it said is in $folder/$release.log" >&2
        exit 1
    fi
done

cd "$here/.."
for release in $releases; do set -- "$@" "$folder/files-$release"; done
shift
PYTHONPATH=$PWD OMP_NUM_THREADS=1 .venv/bin/python benchmarks/migration.py "$@"
