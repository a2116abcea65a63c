#!/usr/bin/env bash
# Installs what the service, its demo and its tests need and the machine lacks. Safe to repeat: what is there stays.
# Usage: scripts/setup.sh ONNXRUNTIME_VERSION
set -euo pipefail
version=${1:?usage: scripts/setup.sh ONNXRUNTIME_VERSION}
root=$(cd "$(dirname "$0")/.." && pwd)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        echo "setup: this needs root: $*" >&2
        return 1
    fi
}

# The oldest PostgreSQL that the service runs on; src/cli/embedded/binaries.rs has the same.
oldest_postgres=15

# The folders of PostgreSQL's server programs, one a line.
postgres_folders() {
    [ -z "${PG_BIN:-}" ] || { echo "$PG_BIN"; return; }
    command -v postgres >/dev/null && dirname "$(command -v postgres)"
    command -v pg_config >/dev/null && pg_config --bindir
    compgen -G '/usr/lib/postgresql/*/bin' || true
}

# Succeeds where one of them is new enough; else leaves those that are too old in $old_postgres.
have_postgres() {
    local folder major
    old_postgres=""
    while read -r folder; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] || continue
        major=$("$folder/postgres" --version | sed -E 's/.*\) ([0-9]+).*/\1/')
        [ "$major" -ge "$oldest_postgres" ] && return 0
        old_postgres="$old_postgres $major ($folder)"
    done < <(postgres_folders)
    return 1
}

# --- programs ---
missing=()
if ! have_postgres; then
    [ -z "$old_postgres" ] || echo "setup: PostgreSQL$old_postgres is too old: $oldest_postgres or newer is needed" >&2
    missing+=(postgresql)
fi
for program in curl jq; do command -v "$program" >/dev/null || missing+=("$program"); done
command -v python3 >/dev/null || missing+=(python3)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
if [ ${#missing[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null; then
        echo "setup: installing ${missing[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
        have_postgres || {
            echo "setup: this system's packages have PostgreSQL$old_postgres; $oldest_postgres or newer is needed: take it from" >&2
            echo "  https://www.postgresql.org/download/ or name its folder in PG_BIN" >&2
            exit 1
        }
    else
        echo "setup: please install ${missing[*]} with this system's package manager, for example:" >&2
        echo "  dnf install postgresql-server curl jq python3-pip    # Fedora" >&2
        echo "  brew install postgresql@17 curl jq python            # macOS" >&2
        exit 1
    fi
fi

# --- ONNX Runtime: the library out of the wheel, pinned by version and hash for each architecture ---
library="$root/.secateur/lib/libonnxruntime.so.$version"
if [ -n "${ORT_DYLIB_PATH:-}" ] && [ "$ORT_DYLIB_PATH" != "$library" ] && [ -e "$ORT_DYLIB_PATH" ]; then
    exit 0
fi
if [ ! -e "$library" ]; then
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) platform=manylinux_2_28_x86_64 ;;
        Linux-aarch64) platform=manylinux_2_28_aarch64 ;;
        *)
            echo "setup: no ONNX Runtime is pinned for $(uname -s) on $(uname -m); point ORT_DYLIB_PATH to a library of version $version" >&2
            exit 1
            ;;
    esac
    echo "setup: fetching ONNX Runtime $version for $platform"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # The hashes stand in the requirements file; pip refuses a wheel that differs.
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --platform "$platform" \
        --require-hashes --requirement "$root/scripts/onnxruntime.txt" --dest "$work"
    mkdir -p "$root/.secateur/lib"
    python3 - "$work" "$library" <<'PYTHON'
import os, pathlib, shutil, sys, zipfile
work, library = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
[wheel] = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open(f"onnxruntime/capi/{library.name}") as source:
    partial = library.with_suffix(".partial")
    with open(partial, "wb") as target:
        shutil.copyfileobj(source, target)
    os.replace(partial, library)
PYTHON
fi
