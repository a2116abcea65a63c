#!/bin/sh
# Checks every SQL statement against a real schema and writes .sqlx (or, with --check, tells whether it is up to date).
# Starts a private PostgreSQL for it; as root its processes run as `postgres`, else `nobody`.
set -eu
cd "$(dirname "$0")/.."

initdb=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -1)
bin=${PG_BIN:-$(dirname "$(readlink -f "$initdb")")}
[ -x "$bin/initdb" ] || { echo "PostgreSQL's server binaries are missing: run make setup" >&2; exit 1; }

folder=$(mktemp -d /tmp/secateur-sqlx-XXXXXX)
as=""
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    as="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
    mkdir "$folder/pg" && chown "$user" "$folder" "$folder/pg"
else
    mkdir "$folder/pg"
fi
here=$PWD
stop() {
    cd /
    $as "$bin/pg_ctl" -D "$folder/pg" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 1' INT TERM
(
    cd /
    $as "$bin/initdb" -N -D "$folder/pg" -U postgres -A trust -E UTF8 --locale=C >/dev/null
    $as "$bin/pg_ctl" -w -D "$folder/pg" -o "-F -k $folder -c listen_addresses=" -l "$folder/pg/log" start >/dev/null
)
for migration in migrations/*.sql; do
    "$bin/psql" -q -h "$folder" -U postgres -v ON_ERROR_STOP=1 -f "$migration"
done

mkdir "$folder/sqlx"
touch src/lib.rs # the statements are checked as the crate is compiled
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$folder/sqlx" DATABASE_URL="postgres:///postgres?host=$folder&user=postgres" \
    cargo check --locked --quiet

if [ "${1:-}" = --check ]; then
    diff -r .sqlx "$folder/sqlx" || { echo "repair with: make sqlx" >&2; exit 1; }
else
    rm -rf "$here/.sqlx"
    mkdir "$here/.sqlx"
    cp "$folder"/sqlx/*.json "$here/.sqlx/"
fi
