//! Stand-ins for the program of attempts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Helpers that scripts may call. Every run leaves a line in `$WORLD/runs`.
const PRELUDE: &str = r#"#!/bin/sh
WORLD=$(dirname "$0")
echo "$$" >>"$WORLD/runs"
tell() { echo "$1"; }
checkpoint() {
    mkdir -p "checkpoints/$1"
    echo "$2" >"checkpoints/$1/state"
    tell "{\"message\":\"checkpoint\",\"directory\":\"$1\"}"
}
# The worker removes a checkpoint's directory once it is kept.
kept() { while [ -e "checkpoints/$1" ]; do sleep 0.01; done; }
# A model that a step made.
model() {
    echo "{\"step\":$1,\"file\":\"$2\",\"summary\":{\"inputs\":[],\"outputs\":[],\"opsets\":{},\"ir_version\":8,\"producer\":null,\"nodes\":1,\"parameters\":1,\"macs\":1}}"
}
# Ends a step with a model and the checkpoint behind it; returns when both are kept.
step_finished() {
    mkdir -p "checkpoints/$1" outputs
    echo "$2" >"checkpoints/$1/state"
    echo "$2" >"checkpoints/$1/step-$1.onnx"
    echo "{\"model\":$(model "$1" "step-$1.onnx"),\"certificate\":null}" >"outputs/step-$1.json"
    tell_step_finished "$1"
    kept "$1"
}
tell_step_finished() {
    tell "{\"message\":\"step_finished\",\"step\":$1,\"directory\":\"$1\",\"made\":\"step-$1.json\",\"event\":{\"kind\":\"step_finished\",\"message\":\"Done.\",\"data\":{\"step\":$1}}}"
}
end() { echo "$1" >outcome.json; exit 0; }
# Finishes with a model of this content that is the given step's (0); the third is the list of earlier steps that made one.
finish() {
    mkdir -p outputs
    echo "$1" >outputs/model.onnx
    job=$(sed -n 's/.*"job_id":"\([^"]*\)".*/\1/p' job.json)
    cat >outputs/report.json <<REPORT
{"schema_version":1,"kind":"evaluate","job_id":"$job","model_id":"$job","model_name":"net","steps":[],
 "environment":{"secateur_version":"0","onnx_runtime":null,"cpu":"test","cores":1,"threads":1}}
REPORT
    end "{\"outcome\":\"finished\",\"model\":$(model "${2:-0}" model.onnx),\"earlier\":[${3:-}],\"report\":\"report.json\",\"plan\":null}"
}
"#;

/// Writes a stand-in that does `body` in its scratch directory.
pub fn write(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("program");
    // Whole under its name from the first moment: a file that is open for writing cannot be run.
    let new = folder.join("program.new");
    fs::write(&new, format!("{PRELUDE}{body}\n")).expect("a script");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("an executable script");
    fs::rename(&new, &path).expect("a script in place");
    path
}

/// Process ids of the attempts that have run, in their order.
pub fn runs(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("runs")).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a process id")).collect()
}
