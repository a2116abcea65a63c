//! `examples/ci/optimize.sh`, as a CI job runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::digits;
use crate::support::service::Service;

/// Steps that take a moment and lose little.
const STEPS: &str = r#"[
  {"kind": "prune", "spec": {"target": {"params_kept": 0.5}}},
  {"kind": "retrain", "spec": {"epochs": 3, "batch_size": 64, "optimizer": {"kind": "sgd", "learning_rate": 0.02}}},
  {"kind": "evaluate", "dataset_id": $test, "spec": {}}
]"#;

struct Script<'a> {
    service: &'a Service,
    model: PathBuf,
    steps: &'a str,
}

impl Script<'_> {
    fn output(&self) -> PathBuf {
        self.service.folder().join("smaller.onnx")
    }

    fn report(&self) -> PathBuf {
        self.service.folder().join("report.md")
    }

    async fn run(&self) -> Output {
        let mut script = Command::new("bash");
        script
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci/optimize.sh"))
            .arg(&self.model)
            .args([digits::file("digits-train.npz"), digits::file("digits-test.npz"), self.output()])
            .env("SECATEUR_URL", self.service.url())
            .env("SECATEUR_PREPROCESS", r#"{"divide_by": 16}"#)
            .env("SECATEUR_STEPS", self.steps)
            .env("SECATEUR_REPORT", self.report());
        tokio::task::spawn_blocking(move || script.output()).await.expect("a thread").expect("bash runs")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ci_job_gets_a_smaller_model_and_a_report() {
    let service = Service::start(&[]).await;
    let script = Script { service: &service, model: digits::file("digits.onnx"), steps: STEPS };
    let run = script.run().await;
    assert_eq!(run.status.code(), Some(0), "{}\n{}", text(&run.stdout), text(&run.stderr));

    let told = text(&run.stdout);
    let job_id = told.lines().find_map(|line| line.strip_prefix("job ")).expect("the job's id is told");
    let job = service.job(job_id).await;
    let smaller = std::fs::read(script.output()).expect("the model is saved");
    assert_eq!(smaller, service.download(job["output_model_id"].as_str().expect("a model")).await);
    let original = std::fs::metadata(&script.model).expect("the original").len();
    assert!((smaller.len() as u64) < original * 6 / 10, "{} of {original} bytes", smaller.len());
    let report = std::fs::read_to_string(script.report()).expect("the report is saved");
    assert!(report.contains("| accuracy |") && report.contains("| size |"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ci_job_fails_with_the_reason_of_what_failed() {
    let service = Service::start(&[]).await;
    let out_of_reach = r#"[{"kind": "prune", "spec": {"target": {"params_kept": 0.0001}}}]"#;
    let script = Script { service: &service, model: digits::file("digits.onnx"), steps: out_of_reach };
    let run = script.run().await;
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("the job ended as failed: target_unreachable: "), "{}", text(&run.stderr));

    let unknown = Script { service: &service, model: digits::file("digits.onnx"), steps: r#"[{"kind": "shrink"}]"# };
    let run = unknown.run().await;
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("invalid_spec"), "{}", text(&run.stderr));

    let unsound = Script { service: &service, model: digits::file("digits-test.npz"), steps: STEPS };
    let run = unsound.run().await;
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("optimize: the service answered 4"), "{}", text(&run.stderr));
    assert!(!script.output().exists() && !script.report().exists(), "nothing is left that looks like a result");
}
