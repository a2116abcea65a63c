//! Requests that are taken, and requests that are refused at the right place.

use serde_json::{Value, json};

use super::*;
use crate::spec::failure::FailureCode;
use crate::spec::prune::{Criterion, Rung, Target};

fn request(kind: &str, spec: &Value) -> JobRequest {
    serde_json::from_value(json!({
        "kind": kind,
        "model_id": "018f0000-0000-7000-8000-000000000001",
        "dataset_id": "018f0000-0000-7000-8000-000000000002",
        "spec": spec,
    }))
    .expect("a well-formed request")
}

#[test]
fn an_empty_spec_gets_the_defaults() {
    let job = request("prune", &json!({})).parse().unwrap();
    let [Step { spec: StepSpec::Prune(spec), .. }] = job.steps.as_slice() else { panic!("{job:?}") };
    assert_eq!(spec.target, Target::MacsKept(0.5));
    assert_eq!(spec.round_to, 8.into());
}

#[test]
fn an_analysis_needs_nothing_and_has_its_patterns_checked() {
    let job = request("analyze", &json!({})).parse().unwrap();
    assert_eq!(job.steps[0].spec, StepSpec::Analyze(AnalyzeSpec::default()));
    let error = request("analyze", &json!({"exclude": ["a["]})).parse().unwrap_err();
    assert_eq!((error.pointer.as_str(), error.message.as_str()), ("/spec/exclude", "`a[` is not a glob pattern"));
}

#[test]
fn a_pruned_model_is_recovered_where_there_is_a_dataset() {
    let recovery = |request: &JobRequest| match request.parse().unwrap().steps.as_slice() {
        [Step { spec: StepSpec::Prune(spec), .. }] => spec.recovery.clone(),
        other => panic!("{other:?}"),
    };
    let with = request("prune", &json!({}));
    assert_eq!(recovery(&with), [Rung::LeastSquares]);
    assert_eq!(recovery(&request("prune", &json!({"recovery": []}))), []);
    let without = |spec| JobRequest { dataset_id: None, ..request("prune", &spec) };
    assert_eq!(recovery(&without(json!({}))), []);
    let error = without(json!({"recovery": ["bias"]})).parse().unwrap_err();
    assert_eq!((error.code, error.pointer.as_str()), (FailureCode::DatasetRequired, "/dataset_id"));
}

#[test]
fn samples_that_are_made_stand_for_a_dataset() {
    let without = |spec| JobRequest { dataset_id: None, ..request("prune", &spec) };
    for criterion in crate::spec::prune::Criterion::ALL {
        assert!(without(json!({"criterion": criterion, "synthetic": {}})).parse().is_ok(), "{criterion:?}");
    }
    let job = without(json!({"synthetic": {"match_batch_norm": true}})).parse().unwrap();
    let [Step { spec: StepSpec::Prune(spec), .. }] = job.steps.as_slice() else { panic!("{job:?}") };
    assert_eq!((spec.criterion, spec.recovery.as_slice()), (Criterion::Obs, &[Rung::LeastSquares][..]));

    let both = request("prune", &json!({"synthetic": {}})).parse().unwrap_err();
    assert_eq!((both.code, both.pointer.as_str()), (FailureCode::InvalidSpec, "/spec/synthetic"));
    let steps = json!({"steps": [{"kind": "prune", "spec": {"synthetic": {}}}, {"kind": "evaluate"}]});
    let job = request("pipeline", &steps).parse().unwrap();
    assert_eq!(job.steps.iter().map(|step| step.dataset_id.is_some()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn channels_are_chosen_by_what_cannot_be_repaired_where_there_is_a_dataset() {
    let criterion = |request: &JobRequest| match request.parse().unwrap().steps.as_slice() {
        [Step { spec: StepSpec::Prune(spec), .. }] => spec.criterion,
        other => panic!("{other:?}"),
    };
    assert_eq!(criterion(&request("prune", &json!({}))), Criterion::Obs);
    assert_eq!(criterion(&request("prune", &json!({"criterion": "l1"}))), Criterion::L1);
    assert_eq!(criterion(&request("prune", &json!({"method": "unstructured"}))), Criterion::L2);
    let without = JobRequest { dataset_id: None, ..request("prune", &json!({})) };
    assert_eq!(criterion(&without), Criterion::L2);
}

#[test]
fn an_unknown_field_is_refused_by_name_and_place() {
    let error =
        request("pipeline", &json!({"steps": [{"kind": "prune", "spec": {"ratio": 0.5}}]})).parse().unwrap_err();
    assert_eq!(error.pointer, "/spec/steps/0/spec/ratio");
    assert!(error.message.contains("unknown field `ratio`"), "{error}");
}

#[test]
fn a_target_holds_exactly_one() {
    let error = request("prune", &json!({"target": {"macs_kept": 0.5, "params_kept": 0.5}})).parse().unwrap_err();
    assert!(error.pointer.starts_with("/spec/target"), "{error}");
}

#[test]
fn a_dry_run_can_only_be_the_last_step() {
    let steps = |first: bool, second: bool| {
        let step = |dry_run| json!({"kind": "prune", "spec": {"dry_run": dry_run}});
        request("pipeline", &json!({"steps": [{"kind": "evaluate"}, step(first), step(second)]})).parse()
    };
    assert_eq!(steps(true, true).unwrap_err().pointer, "/spec/steps/1/spec/dry_run");
    assert!(steps(false, true).is_ok());
}

#[test]
fn what_a_prune_request_cannot_mean_is_refused_with_its_field() {
    let table = [
        (json!({"method": "unstructured", "criterion": "fpgm"}), "criterion"),
        (json!({"method": "unstructured", "normalizer": "max"}), "normalizer"),
        (json!({"method": "unstructured", "reduction": "max"}), "reduction"),
        (json!({"method": "unstructured", "bounds": {"a": {"min_width": 4}}}), "bounds"),
        (json!({"method": "unstructured", "target": {"bytes": 1000}}), "target"),
        (json!({"target": {"bytes": 0}}), "target"),
        (json!({"bounds": {"a": {}}}), "bounds"),
        (json!({"bounds": {"[": {"min_width": 4}}}), "bounds"),
        (json!({"bounds": {"a": {"min_width": 0}}}), "bounds"),
        (json!({"bounds": {"a": {"max_removed": 1.5}}}), "bounds"),
    ];
    for (spec, field) in table {
        let error = request("prune", &spec).parse().expect_err(field);
        assert_eq!(error.pointer, format!("/spec/{field}"), "{spec}: {error}");
    }
}

#[test]
fn a_criterion_that_looks_at_samples_is_refused_without_a_dataset() {
    for criterion in crate::spec::prune::Criterion::ALL {
        let mut request = request("prune", &json!({"criterion": criterion}));
        assert!(request.parse().is_ok(), "{criterion:?}");
        request.dataset_id = None;
        let refused = request.parse().err().map(|error| (error.code, error.pointer));
        let expected = criterion.needs_data().then(|| (FailureCode::DatasetRequired, "/dataset_id".to_owned()));
        assert_eq!(refused, expected, "{criterion:?}");
    }
}

#[test]
fn a_number_out_of_range_is_refused_with_its_place() {
    let error = request("retrain", &json!({"optimizer": {"kind": "sgd", "learning_rate": -1}})).parse().unwrap_err();
    assert_eq!(error.pointer, "/spec/optimizer/learning_rate");
}

#[test]
fn a_checked_spec_survives_storage() {
    let steps = json!({"steps": [{"kind": "prune"}, {"kind": "retrain"}, {"kind": "evaluate"}]});
    let job = request("pipeline", &steps).parse().unwrap();
    let stored = serde_json::to_value(&job).unwrap();
    assert_eq!(serde_json::from_value::<JobSpec>(stored).unwrap(), job);
}
