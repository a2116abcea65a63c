#!/usr/bin/env bash
# Makes a model smaller from a CI job: uploads a model and its data, runs prune → retrain → evaluate, waits, and downloads
# the result. Exits with 1 and the reason where the job does not succeed.
#
# Usage: optimize.sh MODEL.onnx TRAIN.{npz,zip} TEST.{npz,zip} OUTPUT.onnx
#
#   SECATEUR_URL        the service, http://127.0.0.1:8080 by default
#   SECATEUR_STEPS      the pipeline's steps as JSON (the test set is given as $test), see below for the default
#   SECATEUR_PREPROCESS preprocessing of the datasets as JSON, needed for images
#   SECATEUR_REPORT     where the Markdown report goes, report.md by default
#   SECATEUR_RUN        names this run: repeated with the same name it goes on with the same job; made from the CI's own
#                       variables where there are any
set -euo pipefail
model=${1:?usage: optimize.sh MODEL TRAIN TEST OUTPUT} train=${2:?} test=${3:?} output=${4:?}
url=${SECATEUR_URL:-http://127.0.0.1:8080}
steps=${SECATEUR_STEPS:-'[
  {"kind": "prune", "spec": {"target": {"macs_kept": 0.5}}},
  {"kind": "retrain", "spec": {"epochs": 5}},
  {"kind": "evaluate", "dataset_id": $test, "spec": {}}
]'}

run=${SECATEUR_RUN:-${GITHUB_RUN_ID:-${CI_PIPELINE_ID:-$(date +%s)-$$}}}

# Sends a request; prints the body, or the problem on the error stream and fails. A service that restarts or is busy is
# asked again: reading is always safe to repeat, and creations carry a key.
call() {
    local body status
    body=$(mktemp)
    status=$(curl --silent --show-error --retry 10 --retry-connrefused --retry-all-errors --output "$body" \
        --write-out '%{http_code}' "$@") || { rm -f "$body"; return 1; }
    if [ "$status" -ge 400 ]; then
        echo "optimize: the service answered $status: $(jq --raw-output '"\(.code): \(.detail // .title)"' "$body" 2>/dev/null || cat "$body")" >&2
        rm -f "$body"
        return 1
    fi
    cat "$body"
    rm -f "$body"
}

upload() { # resource file
    local form=(--form "file=@$2")
    if [ "$1" = datasets ] && [ -n "${SECATEUR_PREPROCESS:-}" ]; then
        form+=(--form "preprocess=$SECATEUR_PREPROCESS;type=application/json")
    fi
    # The same file in the same run is stored once, however often its upload is repeated.
    local key
    key=$(printf '%s %s %s' "$run" "$1 ${SECATEUR_PREPROCESS:-}" "$(sha256sum <"$2")" | sha256sum | cut -d' ' -f1)
    call --header "Idempotency-Key: \"$key\"" "${form[@]}" \
        "$url/v1/$1?name=$(basename "$2" | jq --raw-input --raw-output @uri)" | jq --raw-output .id
}

model_id=$(upload models "$model")
train_id=$(upload datasets "$train")
test_id=$(upload datasets "$test")
echo "model $model_id, training data $train_id, test data $test_id"

# A repeated submission in the same CI run finds the first job.
request=$(jq --null-input --arg model "$model_id" --arg train "$train_id" --arg test "$test_id" \
    "{kind: \"pipeline\", model_id: \$model, dataset_id: \$train, spec: {steps: $steps}}")
key=$(printf '%s %s' "$run" "$request" | sha256sum | cut -d' ' -f1)
job_id=$(call --header 'Content-Type: application/json' --header "Idempotency-Key: \"$key\"" \
    --data "$request" "$url/v1/jobs" | jq --raw-output .id)
echo "job $job_id"

shown=
while :; do
    job=$(call --header 'Prefer: wait=20' "$url/v1/jobs/$job_id")
    status=$(jq --raw-output .status <<<"$job")
    line=$(jq --raw-output '"\(.status) \(.stage // "") \((.progress // 0) * 100 | floor) %"' <<<"$job")
    [ "$line" = "$shown" ] || echo "$line"
    shown=$line
    case $status in
        succeeded) break ;;
        failed | cancelled)
            jq --raw-output '"optimize: the job ended as \(.status): \(.error.code // ""): \(.error.message // "")"' <<<"$job" >&2
            exit 1
            ;;
    esac
done

call --header 'Accept: text/markdown' "$url/v1/jobs/$job_id/report" >"${SECATEUR_REPORT:-report.md}"
curl --silent --show-error --fail --output "$output" "$url/v1/models/$(jq --raw-output .output_model_id <<<"$job")/content"
echo "report in ${SECATEUR_REPORT:-report.md}, model in $output ($(wc -c <"$output") bytes)"
