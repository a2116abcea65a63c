use serde_json::{Value, json};

use super::*;
use crate::spec::job::JobRequest;

const DATASET: &str = "018f0000-0000-7000-8000-00000000000d";
const OTHER: &str = "018f0000-0000-7000-8000-00000000000e";

fn model(inputs: &Value, outputs: &Value) -> ModelSummary {
    serde_json::from_value(json!({
        "inputs": inputs, "outputs": outputs, "opsets": {"ai.onnx": 17}, "ir_version": 8,
        "producer": null, "nodes": 1, "parameters": 1, "macs": 1,
    }))
    .expect("a summary")
}

fn classifier() -> ModelSummary {
    model(
        &json!([{"name": "x", "dtype": "float", "shape": ["N", 3, 32, 32]}]),
        &json!([{"name": "logits", "dtype": "float", "shape": ["N", 10]}]),
    )
}

fn npz(arrays: &Value, classes: Option<u64>) -> DatasetSummary {
    serde_json::from_value(json!({
        "format": "npz", "samples": 100, "arrays": arrays, "classes": classes, "preprocess": null,
    }))
    .expect("a summary")
}

fn images(preprocess: &Value, classes: u64) -> DatasetSummary {
    serde_json::from_value(json!({
        "format": "image_folder", "samples": 100, "classes": classes, "preprocess": preprocess,
        "arrays": [{"name": "image", "dtype": "uint8", "sample_shape": []}],
    }))
    .expect("a summary")
}

fn with_baseline(
    kind: &str,
    spec: &Value,
    model: &ModelSummary,
    data: &DatasetSummary,
    other: &ModelSummary,
) -> Vec<Mismatch> {
    let request: JobRequest = serde_json::from_value(json!({
        "kind": kind, "model_id": "018f0000-0000-7000-8000-00000000000a", "dataset_id": DATASET, "spec": spec,
    }))
    .expect("a request");
    check(
        &request.parse().expect("a sound spec"),
        &Inputs {
            model,
            other_models: &BTreeMap::from([(OTHER.parse().expect("an id"), other.clone())]),
            datasets: &BTreeMap::from([(DATASET.parse().expect("an id"), data.clone())]),
            job_dataset_id: request.dataset_id,
        },
    )
}

fn found(kind: &str, spec: &Value, model: &ModelSummary, data: &DatasetSummary) -> Vec<Mismatch> {
    with_baseline(kind, spec, model, data, &classifier())
}

fn only(found: Vec<Mismatch>) -> Mismatch {
    let [one] = <[Mismatch; 1]>::try_from(found).expect("one mismatch");
    one
}

#[test]
fn the_only_array_serves_a_one_input_model_whatever_its_name() {
    let data = npz(&json!([{"name": "images", "dtype": "float32", "sample_shape": [3, 32, 32]}]), Some(10));
    assert_eq!(found("evaluate", &json!({}), &classifier(), &data), []);
}

#[test]
fn of_several_arrays_each_input_needs_its_own() {
    let data = npz(
        &json!([
            {"name": "a", "dtype": "float32", "sample_shape": [3, 32, 32]},
            {"name": "b", "dtype": "float32", "sample_shape": [3, 32, 32]},
        ]),
        Some(10),
    );
    let mismatch = only(found("evaluate", &json!({}), &classifier(), &data));
    assert_eq!((mismatch.code, mismatch.pointer.as_str()), (FailureCode::DatasetMismatch, "/dataset_id"));
    assert!(mismatch.message.contains("`x`") && mismatch.message.contains("`a`, `b`"), "{}", mismatch.message);
}

#[test]
fn a_sample_of_another_shape_or_rank_is_refused_with_both_shapes() {
    for sample in [json!([3, 32, 33]), json!([3072])] {
        let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": sample}]), Some(10));
        let mismatch = only(found("retrain", &json!({}), &classifier(), &data));
        assert_eq!(mismatch.code, FailureCode::DatasetMismatch);
        assert!(mismatch.message.contains("float [N, 3, 32, 32]"), "{}", mismatch.message);
    }
}

#[test]
fn free_axes_and_unknown_ranks_take_anything() {
    let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": [1, 7, 9]}]), Some(12));
    for shape in [json!(null), json!(["N", "C", null, "W"])] {
        let open = model(
            &json!([{"name": "x", "dtype": "float", "shape": shape}]),
            &json!([{"name": "y", "dtype": "float", "shape": ["N", null]}]),
        );
        assert_eq!(found("evaluate", &json!({}), &open, &data), []);
    }
}

#[test]
fn floats_do_not_serve_an_integer_input_but_integers_serve_a_float_one() {
    let tokens = model(
        &json!([{"name": "ids", "dtype": "int64", "shape": ["N", 8]}]),
        &json!([{"name": "y", "dtype": "float", "shape": ["N", 2]}]),
    );
    let floats = npz(&json!([{"name": "ids", "dtype": "float32", "sample_shape": [8]}]), Some(2));
    assert!(only(found("evaluate", &json!({}), &tokens, &floats)).message.contains("takes int64"));
    let bytes = npz(&json!([{"name": "x", "dtype": "uint8", "sample_shape": [3, 32, 32]}]), Some(10));
    assert_eq!(found("evaluate", &json!({}), &classifier(), &bytes), []);
}

#[test]
fn an_npz_may_lack_the_last_classes_but_not_have_more_than_the_output() {
    let arrays = json!([{"name": "x", "dtype": "float32", "sample_shape": [3, 32, 32]}]);
    assert_eq!(found("evaluate", &json!({}), &classifier(), &npz(&arrays, Some(9))), []);
    let mismatch = only(found("evaluate", &json!({}), &classifier(), &npz(&arrays, Some(11))));
    assert!(
        mismatch.message.contains("11 classes") && mismatch.message.contains("`logits` scores 10"),
        "{}",
        mismatch.message
    );
    let unlabelled = only(found("evaluate", &json!({}), &classifier(), &npz(&arrays, None)));
    assert!(unlabelled.message.contains("no labels"), "{}", unlabelled.message);
}

#[test]
fn image_folders_need_as_many_classes_as_the_output() {
    let preprocess = json!({"size": [32, 32]});
    assert_eq!(found("evaluate", &json!({}), &classifier(), &images(&preprocess, 10)), []);
    assert!(only(found("evaluate", &json!({}), &classifier(), &images(&preprocess, 9))).message.contains("9 classes"));
}

#[test]
fn size_layout_and_channels_of_the_preprocessing_make_the_shape() {
    for wrong in [
        json!({"size": [32, 31]}),
        json!({"size": [32, 32], "layout": "nhwc"}),
        json!({"size": [32, 32], "channels": "gray"}),
        json!({"size": [32, 32], "mean": [0.5, 0.5]}),
        json!({}),
    ] {
        let own = only(found("evaluate", &json!({}), &classifier(), &images(&wrong, 10)));
        assert_eq!(own.pointer, "/dataset_id", "{wrong}");
        let replaced =
            found("evaluate", &json!({"preprocess": wrong}), &classifier(), &images(&json!({"size": [32, 32]}), 10));
        assert_eq!(only(replaced).pointer, "/spec/preprocess", "{wrong}");
    }
}

#[test]
fn a_pipeline_names_the_step_that_does_not_fit() {
    let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": [3, 32, 32]}]), Some(10));
    let spec = json!({"steps": [{"kind": "prune"}, {"kind": "evaluate", "spec": {"output": "probabilities"}}]});
    let mismatch = only(found("pipeline", &spec, &classifier(), &data));
    assert_eq!((mismatch.code, mismatch.pointer.as_str()), (FailureCode::InvalidSpec, "/spec/steps/1/spec/output"));
    assert!(mismatch.message.contains("`logits`"), "{}", mismatch.message);
}

#[test]
fn top_k_may_not_exceed_the_classes_while_its_default_may() {
    let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": [4]}]), Some(3));
    let small = model(
        &json!([{"name": "x", "dtype": "float", "shape": ["N", 4]}]),
        &json!([{"name": "y", "dtype": "float", "shape": ["N", 3]}]),
    );
    assert_eq!(found("evaluate", &json!({}), &small, &data), []);
    assert_eq!(only(found("evaluate", &json!({"top_k": 4}), &small, &data)).pointer, "/spec/top_k");
}

#[test]
fn an_integer_output_is_not_scored() {
    let labels = model(
        &json!([{"name": "x", "dtype": "float", "shape": ["N", 3, 32, 32]}]),
        &json!([{"name": "label", "dtype": "int64", "shape": ["N"]}, {"name": "p", "dtype": "float", "shape": ["N", 10]}]),
    );
    let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": [3, 32, 32]}]), Some(10));
    assert_eq!(only(found("evaluate", &json!({}), &labels, &data)).pointer, "/spec/output");
    assert_eq!(found("evaluate", &json!({"output": "p"}), &labels, &data), []);
}

#[test]
fn axes_of_size_one_do_not_count_and_a_single_score_stands_for_two_classes() {
    let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": [4]}]), Some(3));
    let with = |shape: &Value| {
        model(
            &json!([{"name": "x", "dtype": "float", "shape": ["N", 4]}]),
            &json!([{"name": "y", "dtype": "float", "shape": shape}]),
        )
    };
    assert_eq!(found("evaluate", &json!({}), &with(&json!([1, 3, 1, 1])), &data), []);
    assert_eq!(found("evaluate", &json!({}), &with(&json!(["N", "C", 7])), &data), []);
    let binary = only(found("evaluate", &json!({}), &with(&json!(["N", 1])), &data));
    assert!(binary.message.contains("3 classes") && binary.message.contains("scores 2"), "{}", binary.message);
    for pixels in [json!(["N", 3, 8, 8]), json!([])] {
        assert_eq!(only(found("evaluate", &json!({}), &with(&pixels), &data)).pointer, "/spec/output", "{pixels}");
    }
}

#[test]
fn integer_arrays_need_a_mean_for_each_channel_or_one_for_all() {
    let mut data = npz(&json!([{"name": "x", "dtype": "uint8", "sample_shape": [3, 32, 32]}]), Some(10));
    for (mean, fits) in [(json!([0.5]), true), (json!([0.5, 0.5, 0.5]), true), (json!([0.5, 0.5]), false)] {
        data.preprocess = serde_json::from_value(json!({"mean": mean})).expect("preprocessing");
        assert_eq!(found("evaluate", &json!({}), &classifier(), &data).is_empty(), fits, "{mean}");
    }
}

#[test]
fn a_baseline_takes_the_same_inputs_and_scores_as_many_classes() {
    let data = npz(&json!([{"name": "x", "dtype": "float32", "sample_shape": [3, 32, 32]}]), Some(10));
    let spec = json!({"baseline_model_id": OTHER});
    let fixed_batch = model(
        &json!([{"name": "input", "dtype": "float", "shape": [1, 3, 32, 32]}]),
        &json!([{"name": "out", "dtype": "float", "shape": [1, 10]}]),
    );
    assert_eq!(with_baseline("evaluate", &spec, &classifier(), &data, &fixed_batch), []);
    let other_classes = model(
        &json!([{"name": "x", "dtype": "float", "shape": ["N", 3, 32, 32]}]),
        &json!([{"name": "logits", "dtype": "float", "shape": ["N", 100]}]),
    );
    let mismatch = only(with_baseline("evaluate", &spec, &classifier(), &data, &other_classes));
    assert_eq!((mismatch.code, mismatch.pointer.as_str()), (FailureCode::InvalidSpec, "/spec/baseline_model_id"));
}

#[test]
fn samples_are_made_for_inputs_that_are_there_and_integers_of_a_stated_range() {
    let model = model(
        &json!([
            {"name": "ids", "dtype": "int64", "shape": ["N", 8]},
            {"name": "a/b", "dtype": "int32", "shape": ["N", 8]},
            {"name": "x", "dtype": "float", "shape": ["N", 8]},
        ]),
        &json!([{"name": "logits", "dtype": "float", "shape": ["N", 10]}]),
    );
    let data = npz(&json!([]), None);
    let pointers = |inputs: Value| -> Vec<String> {
        let steps = json!({"steps": [{"kind": "prune", "spec": {"synthetic": {"inputs": inputs}}}]});
        let all = found("pipeline", &steps, &model, &data);
        assert!(all.iter().all(|mismatch| mismatch.code == FailureCode::InvalidSpec), "{all:?}");
        all.into_iter().map(|mismatch| mismatch.pointer).collect()
    };
    let at = |name: &str| format!("/spec/steps/0/spec/synthetic/inputs/{name}");
    let range = json!({"integers": {"below": 5}});
    assert_eq!(pointers(json!({"ids": range, "a/b": range})), Vec::<String>::new());
    assert_eq!(pointers(json!({"ids": range, "a/b": {"normal": {}}, "z": range})), [at("z"), at("a~1b")]);
    assert_eq!(pointers(json!({})), [at("ids"), at("a~1b")]);
}
