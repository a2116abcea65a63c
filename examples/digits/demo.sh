#!/usr/bin/env bash
# The main job on a small real model: starts the service with its embedded defaults on a free port, prunes, retrains and
# evaluates the digits classifier through the HTTP API, prints the report and saves the smaller model.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${CARGO_TARGET_DIR:-$root/target}/debug/secateur
result=$root/.secateur/demo
mkdir -p "$result"

work=$(mktemp -d /tmp/secateur-demo.XXXXXX)
# The embedded PostgreSQL runs as an unprivileged user where this is root; it must be able to pass through here.
chmod 755 "$work"
service=
finish() {
    local status=$?
    if [ -n "$service" ] && kill -TERM "$service" 2>/dev/null; then
        wait "$service" || true
        echo "service stopped"
    fi
    [ "$status" -eq 0 ] || { echo "demo: failed; the end of the service's log:" >&2; tail -n 30 "$work/log" >&2; }
    rm -rf "$work"
}
trap finish EXIT

"$binary" serve --data-dir "$work/data" --listen 127.0.0.1:0 >"$work/out" 2>"$work/log" &
service=$!
for _ in $(seq 300); do
    url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$work/out" | head -n 1)
    [ -z "$url" ] || break
    kill -0 "$service" 2>/dev/null || { service=; echo "demo: the service did not start" >&2; exit 1; }
    sleep 0.1
done
[ -n "$url" ] || { echo "demo: the service did not say where it listens" >&2; exit 1; }
echo "service at $url"

SECATEUR_URL=$url SECATEUR_REPORT=$result/report.md SECATEUR_PREPROCESS='{"divide_by": 16}' SECATEUR_STEPS='[
  {"kind": "prune", "spec": {"target": {"params_kept": 0.37}}},
  {"kind": "retrain", "spec": {"epochs": 20, "batch_size": 64, "optimizer": {"kind": "sgd", "learning_rate": 0.02}}},
  {"kind": "evaluate", "dataset_id": $test, "spec": {}}
]' "$root/examples/ci/optimize.sh" "$here/digits.onnx" "$here/digits-train.npz" "$here/digits-test.npz" "$result/digits-small.onnx"
echo
cat "$result/report.md"
