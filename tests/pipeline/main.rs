//! Job kinds run bare, as the attempt process runs them: on the digits example that lies in the repository.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod digits;

use std::collections::BTreeMap;
use std::fs;

use digits::{Digits, Interruptions};
use secateur::pipeline::Stop;
use secateur::spec::attempt::ModelLimits;
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobKind;
use serde_json::json;

fn main_job() -> serde_json::Value {
    json!({"steps": [
        {"kind": "prune", "spec": {"target": {"params_kept": 0.5}}},
        {"kind": "retrain", "spec": {"epochs": 3, "batch_size": 64, "optimizer": {"kind": "sgd", "learning_rate": 0.01}}},
        {"kind": "evaluate", "dataset_id": Digits::TEST_SET, "spec": {"latency": null}},
    ]})
}

#[test]
fn a_pipeline_prunes_retrains_and_evaluates_against_its_start() {
    let digits = Digits::new(JobKind::Pipeline, &main_job());
    let finished = digits.run(&Interruptions::none()).unwrap();
    let report = digits.report(&finished);

    let [prune, retrain, evaluate] = report.steps.as_slice() else { panic!("{report:#?}") };
    let certificate = &prune.prune.as_ref().unwrap().certificate.as_ref().unwrap();
    assert!(
        certificate.passed && certificate.checks.iter().any(|check| check.engine == "onnxruntime"),
        "{certificate:#?}"
    );
    let retrain = retrain.retrain.as_ref().unwrap();
    assert_eq!(retrain.epochs.len(), 3);
    let certificate = retrain.certificate.as_ref().unwrap();
    assert!(
        certificate.passed
            && ["onnxruntime", "tract"].iter().all(|on| certificate.checks.iter().any(|c| c.engine == *on)),
        "{certificate:#?}"
    );
    assert!(evaluate.evaluate.is_some());

    let (baseline, candidate) = (report.baseline.unwrap(), report.candidate.unwrap());
    assert!(candidate.size.parameters * 2 <= baseline.size.parameters, "{:?} {:?}", candidate.size, baseline.size);
    let (before, after) = (baseline.quality.unwrap(), candidate.quality.unwrap());
    assert!(before.accuracy >= 0.97, "the example's own accuracy is {}", before.accuracy);
    // 360 samples: a class of ten is 36, and three epochs win back all but a few samples of what the cut costs.
    assert!(after.accuracy >= before.accuracy - 0.05, "{} after {}", after.accuracy, before.accuracy);
    assert!(finished.plan.is_some());
    assert_eq!(finished.model, None, "the last step makes none");
    let handed_over: Vec<_> =
        digits.handed_over().into_iter().map(|made| (made.model.step, made.certificate.is_some())).collect();
    assert_eq!(handed_over, [(0, true), (1, true)], "prune and retrain make a model each, with its certificate");
    assert_eq!(finished.earlier, [0, 1]);
}

#[test]
fn a_job_that_is_interrupted_anywhere_ends_with_the_same_bytes() {
    let digits = Digits::new(JobKind::Pipeline, &main_job());
    let finished = digits.run(&Interruptions::none()).unwrap();
    let undisturbed = digits.output(&finished);

    // Asked to stop at ever later points: before anything, between steps, in the middle of epochs.
    let disturbed = Digits::new(JobKind::Pipeline, &main_job());
    let mut attempts = 0;
    let finished = loop {
        attempts += 1;
        assert!(attempts < 50, "the job makes no progress");
        match disturbed.run(&Interruptions::after_asking(7 * attempts)) {
            Ok(finished) => break finished,
            Err(Stop::Interrupted) => disturbed.resume_from_last_checkpoint(),
            Err(Stop::Failed(failure)) => panic!("{failure}"),
        }
    };
    assert!(attempts > 3, "the test interrupts the job, not {attempts} times");
    assert!(disturbed.output(&finished) == undisturbed, "the models differ");
    assert_eq!(disturbed.ended(), [0, 1, 2], "no step ends twice");
    assert_eq!(finished.earlier, [0, 1], "those that earlier attempts handed over too");
}

#[test]
fn an_evaluation_alone_has_no_baseline_and_makes_no_model() {
    let digits = Digits::new(JobKind::Evaluate, &json!({"latency": {"seconds": 0.05}}));
    let finished = digits.run(&Interruptions::none()).unwrap();
    let report = digits.report(&finished);
    assert!(report.baseline.is_none() && finished.model.is_none() && finished.plan.is_none());
    let latency = &report.candidate.unwrap().latency[0];
    assert!(latency.runs > 0 && latency.p50_ms <= latency.p99_ms, "{latency:?}");
}

#[test]
fn a_target_out_of_reach_fails_with_the_best_that_was_possible() {
    let digits = Digits::new(JobKind::Prune, &json!({"target": {"params_kept": 0.0001}}));
    let Err(Stop::Failed(failure)) = digits.run(&Interruptions::none()) else { panic!("it cannot be reached") };
    assert_eq!(failure.code, FailureCode::TargetUnreachable, "{failure}");
}

#[test]
fn zeros_make_the_compressed_file_smaller_and_change_no_shape() {
    let spec = json!({"method": "unstructured", "target": {"sparsity": 0.8}});
    let digits = Digits::new(JobKind::Prune, &spec);
    let finished = digits.run(&Interruptions::none()).unwrap();
    let report = digits.report(&finished);
    let (before, after) = (report.baseline.unwrap().size, report.candidate.unwrap().size);
    assert_eq!(before.parameters, after.parameters);
    assert!(after.compressed_bytes < before.compressed_bytes * 6 / 10, "{before:?} {after:?}");
    assert!(after.nonzero_parameters < before.nonzero_parameters * 3 / 10, "{before:?} {after:?}");
}

#[test]
fn a_file_that_is_no_model_is_refused_with_its_code() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("upload");
    fs::write(&file, b"not a model at all").unwrap();
    let failure = secateur::pipeline::inspect_model(
        &file,
        &BTreeMap::new(),
        &scratch.path().join("kept"),
        &ModelLimits::default(),
    )
    .unwrap_err();
    assert_eq!(failure.code, FailureCode::InvalidModel, "{failure}");
}

#[test]
fn zeros_of_a_sparse_model_survive_its_retraining_and_training_data_in_an_evaluation_is_told() {
    let spec = json!({"steps": [
        {"kind": "prune", "spec": {"method": "unstructured", "target": {"sparsity": 0.8}}},
        {"kind": "retrain", "spec": {"epochs": 1, "batch_size": 64}},
        {"kind": "evaluate", "spec": {"latency": null}},
    ]});
    let digits = Digits::new(JobKind::Pipeline, &spec);
    let report = digits.report(&digits.run(&Interruptions::none()).unwrap());
    let pruned = &report.steps[0].prune.as_ref().unwrap().size_after;
    assert_eq!(report.candidate.unwrap().size.nonzero_parameters, pruned.nonzero_parameters);
    assert!(
        report.steps[1].findings.iter().any(|finding| finding.contains("stayed zero")),
        "{:?}",
        report.steps[1].findings
    );
    assert!(
        report.steps[2].findings.iter().any(|finding| finding.contains("trained on")),
        "{:?}",
        report.steps[2].findings
    );
}
