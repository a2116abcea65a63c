//! Whether a job's model and datasets fit together, told from their stored summaries alone, so that a job that cannot
//! work is refused when it is submitted and not an hour later.
//!
//! What a summary does not know (a free axis, an unknown rank) is compatible with anything: the job itself finds out.
//! Every step of a pipeline is held against the model that the pipeline starts from: pruning and retraining keep the
//! shapes of inputs and outputs.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::evaluate::EvaluateSpec;
use super::failure::FailureCode;
use super::job::{JobKind, JobSpec, StepSpec};
use super::preprocess::{Channels, Layout, Preprocess};
use super::summary::{ArraySummary, Axis, DatasetFormat, DatasetSummary, ModelSummary, ValueSummary};

/// What is known of everything that a job names.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The model that the job works on.
    pub model: &'a ModelSummary,
    /// Baselines that steps name, by id.
    pub other_models: &'a BTreeMap<Uuid, ModelSummary>,
    /// Datasets that steps name, by id.
    pub datasets: &'a BTreeMap<Uuid, DatasetSummary>,
    /// The dataset that stands at the top of the request, for the pointers.
    pub job_dataset_id: Option<Uuid>,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// [`FailureCode::DatasetMismatch`] or [`FailureCode::InvalidSpec`].
    pub code: FailureCode,
    /// JSON pointer into the request.
    pub pointer: String,
    /// What does not fit, with both sides' figures.
    pub message: String,
}

impl Mismatch {
    fn dataset(pointer: &str, message: String) -> Self {
        Self { code: FailureCode::DatasetMismatch, pointer: pointer.into(), message }
    }

    fn spec(pointer: String, message: String) -> Self {
        Self { code: FailureCode::InvalidSpec, pointer, message }
    }
}

/// Everything about a job that cannot work, in the order of its steps; empty where all fits.
///
/// Models and datasets that `inputs` does not hold are passed over: whether they exist is the caller's question.
#[must_use]
pub fn check(spec: &JobSpec, inputs: &Inputs<'_>) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for (number, step) in spec.steps.iter().enumerate() {
        let at = if spec.kind == JobKind::Pipeline { format!("/spec/steps/{number}") } else { String::new() };
        let dataset_pointer = match spec.kind {
            JobKind::Pipeline if step.dataset_id != inputs.job_dataset_id => format!("{at}/dataset_id"),
            _ => "/dataset_id".to_owned(),
        };
        let place = Place { spec: format!("{at}/spec"), dataset: dataset_pointer };
        let dataset = step.dataset_id.and_then(|id| inputs.datasets.get(&id));
        match &step.spec {
            StepSpec::Prune(_) => {
                if let Some(dataset) = dataset {
                    check_inputs(inputs.model, dataset, None, &place, &mut found);
                }
            }
            StepSpec::Retrain(retrain) => {
                let use_ = Scoring { preprocess: retrain.preprocess.as_ref(), output: retrain.output.as_deref() };
                check_scoring(inputs.model, dataset, &use_, &place, &mut found);
            }
            StepSpec::Evaluate(evaluate) => {
                let use_ = Scoring { preprocess: evaluate.preprocess.as_ref(), output: evaluate.output.as_deref() };
                let classes = check_scoring(inputs.model, dataset, &use_, &place, &mut found);
                check_top_k(evaluate, classes, &place, &mut found);
                if let Some(baseline) = evaluate.baseline_model_id.and_then(|id| inputs.other_models.get(&id)) {
                    check_baseline(inputs.model, baseline, evaluate.output.as_deref(), &place, &mut found);
                }
            }
        }
    }
    found
}

/// Where the parts of a step stand in the request.
struct Place {
    spec: String,
    dataset: String,
}

/// What a step says of how a dataset is scored.
struct Scoring<'a> {
    preprocess: Option<&'a Preprocess>,
    output: Option<&'a str>,
}

/// Checks inputs, labels and classes; returns the number of classes where it is known.
fn check_scoring(
    model: &ModelSummary,
    dataset: Option<&DatasetSummary>,
    scoring: &Scoring<'_>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) -> Option<u64> {
    let Some(output) = scored_output(model, scoring.output) else {
        let names = model.outputs.iter().map(|output| format!("`{}`", output.name)).collect::<Vec<_>>().join(", ");
        let message = match scoring.output {
            Some(name) => format!("the model has no output `{name}`; its outputs are {names}"),
            None => "the model has no outputs that could be scored".into(),
        };
        found.push(Mismatch::spec(format!("{}/output", place.spec), message));
        return None;
    };
    if let Some(dataset) = dataset {
        check_inputs(model, dataset, scoring.preprocess, place, found);
    }
    if !is_float(&output.dtype) {
        let message = format!(
            "the output `{}` holds {}, but scores are floating-point numbers; name another output",
            output.name, output.dtype
        );
        found.push(Mismatch::spec(format!("{}/output", place.spec), message));
        return None;
    }
    let scores = match scores_of(output) {
        Scored::Classes(classes) => Some(classes),
        Scored::Unknown => None,
        Scored::Otherwise => {
            let message = format!(
                "the output `{}` is {}, but what is scored has one row of classes for each sample; name another output",
                output.name,
                describe(output)
            );
            found.push(Mismatch::spec(format!("{}/output", place.spec), message));
            return None;
        }
    };
    if let Some(dataset) = dataset {
        check_classes(dataset, output, scores, place, found);
    }
    scores.or_else(|| dataset.and_then(|dataset| dataset.classes))
}

fn check_classes(
    dataset: &DatasetSummary,
    output: &ValueSummary,
    scores: Option<u64>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) {
    let Some(classes) = dataset.classes else {
        found.push(Mismatch::dataset(&place.dataset, "the dataset has no labels (an array `labels` or `y`)".into()));
        return;
    };
    let Some(scores) = scores else { return };
    // The largest label of an npz says only that there are at least so many classes; the folders of an image set are
    // the classes, and with another number of them every label would mean another class than the model's.
    let fits = match dataset.format {
        DatasetFormat::Npz => classes <= scores,
        DatasetFormat::ImageFolder => classes == scores,
    };
    if !fits {
        let message = format!("the dataset has {classes} classes, but the output `{}` scores {scores}", output.name);
        found.push(Mismatch::dataset(&place.dataset, message));
    }
}

fn check_top_k(spec: &EvaluateSpec, classes: Option<u64>, place: &Place, found: &mut Vec<Mismatch>) {
    if let Some(classes) = classes
        && u64::from(spec.top_k) > classes
        // The default means "five, or as many as there are".
        && spec.top_k != EvaluateSpec::default().top_k
    {
        let message = format!("must be at most the number of classes, {classes}, is {}", spec.top_k);
        found.push(Mismatch::spec(format!("{}/top_k", place.spec), message));
    }
}

/// Checks that every input of the model is served by an array of the right rank, shape and type.
fn check_inputs(
    model: &ModelSummary,
    dataset: &DatasetSummary,
    replaced: Option<&Preprocess>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) {
    match dataset.format {
        DatasetFormat::ImageFolder => check_images(model, dataset, replaced, place, found),
        DatasetFormat::Npz => {
            for input in &model.inputs {
                let Some(array) = serving(model, dataset, input) else {
                    let names = dataset.arrays.iter().map(|array| format!("`{}`", array.name)).collect::<Vec<_>>();
                    let message = format!(
                        "no array is named after the model's input `{}`; besides the labels the dataset holds {}",
                        input.name,
                        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
                    );
                    found.push(Mismatch::dataset(&place.dataset, message));
                    continue;
                };
                check_array(input, array, place, found);
                if let Some((pointer, preprocess)) = effective(dataset, replaced, place)
                    && matches!(kind_of_numpy(&array.dtype), Some(NumberKind::Integer))
                    && is_float(&input.dtype)
                {
                    check_channels(preprocess, &array.sample_shape, &pointer, found);
                }
            }
        }
    }
}

/// The preprocessing that applies and where it stands: in the spec where it is replaced there, else with the dataset.
fn effective<'a>(
    dataset: &'a DatasetSummary,
    replaced: Option<&'a Preprocess>,
    place: &Place,
) -> Option<(String, &'a Preprocess)> {
    match replaced {
        Some(replaced) => Some((format!("{}/preprocess", place.spec), replaced)),
        None => dataset.preprocess.as_ref().map(|own| (place.dataset.clone(), own)),
    }
}

/// Checks that there is one mean and deviation for all channels, or one for each.
fn check_channels(preprocess: &Preprocess, sample: &[u64], pointer: &str, found: &mut Vec<Mismatch>) {
    let channels = match preprocess.layout {
        Layout::Nchw => sample.first(),
        Layout::Nhwc => sample.last(),
    };
    let channels = channels.copied().unwrap_or(1);
    for (field, values) in [("mean", &preprocess.mean), ("std", &preprocess.std)] {
        if values.len() > 1 && values.len() as u64 != channels {
            let message = format!("`{field}` has {} values, but the samples have {channels} channels", values.len());
            found.push(Mismatch::dataset(pointer, message));
        }
    }
}

/// The array that serves an input: the one of its name, or the only one where the model has one input.
fn serving<'a>(model: &ModelSummary, dataset: &'a DatasetSummary, input: &ValueSummary) -> Option<&'a ArraySummary> {
    if let ([_], [array]) = (model.inputs.as_slice(), dataset.arrays.as_slice()) {
        return Some(array);
    }
    dataset.arrays.iter().find(|array| array.name == input.name)
}

fn check_array(input: &ValueSummary, array: &ArraySummary, place: &Place, found: &mut Vec<Mismatch>) {
    if !shape_fits(input, &array.sample_shape) {
        found.push(Mismatch::dataset(&place.dataset, shape_message(input, &array.name, &array.sample_shape)));
    }
    let fits = match kind_of_numpy(&array.dtype) {
        Some(NumberKind::Float) => is_float(&input.dtype),
        // Integers become numbers of either kind.
        Some(NumberKind::Integer) => is_float(&input.dtype) || is_integer(&input.dtype),
        Some(NumberKind::Bool) => input.dtype == "bool",
        None => false,
    };
    if !fits {
        let message = format!(
            "the array `{}` holds {}, but the model's input `{}` takes {}",
            array.name, array.dtype, input.name, input.dtype
        );
        found.push(Mismatch::dataset(&place.dataset, message));
    }
}

fn check_images(
    model: &ModelSummary,
    dataset: &DatasetSummary,
    replaced: Option<&Preprocess>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) {
    let [input] = model.inputs.as_slice() else {
        let message = format!("a folder of images serves a model of one input; this one has {}", model.inputs.len());
        found.push(Mismatch::dataset(&place.dataset, message));
        return;
    };
    let Some((pointer, preprocess)) = effective(dataset, replaced, place) else {
        let message = "the images have no `preprocess`; give one in the spec".into();
        found.push(Mismatch::dataset(&place.dataset, message));
        return;
    };
    let Some([height, width]) = preprocess.size else {
        let message = "images need a `size` of [height, width] to become arrays of one shape".into();
        found.push(Mismatch::dataset(&pointer, message));
        return;
    };
    let channels = match preprocess.channels {
        Channels::Rgb | Channels::Bgr => 3,
        Channels::Gray => 1,
    };
    let (height, width) = (u64::from(height), u64::from(width));
    let sample = match preprocess.layout {
        Layout::Nchw => [channels, height, width],
        Layout::Nhwc => [height, width, channels],
    };
    check_channels(preprocess, &sample, &pointer, found);
    if !shape_fits(input, &sample) {
        found.push(Mismatch::dataset(&pointer, shape_message(input, "image", &sample)));
    }
    // Integers are taken as they are decoded.
    if !is_float(&input.dtype) && !is_integer(&input.dtype) {
        let message = format!("images are numbers, but the input `{}` takes {}", input.name, input.dtype);
        found.push(Mismatch::dataset(&place.dataset, message));
    }
}

/// Checks that a baseline takes what the model takes and scores what the model scores.
fn check_baseline(
    model: &ModelSummary,
    baseline: &ModelSummary,
    output: Option<&str>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) {
    let pointer = format!("{}/baseline_model_id", place.spec);
    if model.inputs.len() != baseline.inputs.len() {
        let message = format!("the baseline has {} inputs, the model {}", baseline.inputs.len(), model.inputs.len());
        found.push(Mismatch::spec(pointer, message));
        return;
    }
    for input in &model.inputs {
        let twin = match baseline.inputs.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|candidate| candidate.name == input.name),
        };
        match twin {
            None => found.push(Mismatch::spec(
                pointer.clone(),
                format!("the baseline has no input `{}` as the model has", input.name),
            )),
            Some(twin) if twin.dtype != input.dtype || !samples_agree(twin, input) => found.push(Mismatch::spec(
                pointer.clone(),
                format!(
                    "the baseline's input `{}` is {}, the model's `{}` is {}",
                    twin.name,
                    describe(twin),
                    input.name,
                    describe(input)
                ),
            )),
            Some(_) => {}
        }
    }
    let (Some(ours), Some(theirs)) =
        (scored_output(model, output), scored_output(baseline, output).or(baseline.outputs.first()))
    else {
        return;
    };
    if !samples_agree(ours, theirs) {
        let message = format!(
            "the baseline's output `{}` is {}, the model's `{}` is {}",
            theirs.name,
            describe(theirs),
            ours.name,
            describe(ours)
        );
        found.push(Mismatch::spec(pointer, message));
    }
}

/// The output of that name, or the first.
fn scored_output<'a>(model: &'a ModelSummary, name: Option<&str>) -> Option<&'a ValueSummary> {
    match name {
        Some(name) => model.outputs.iter().find(|output| output.name == name),
        None => model.outputs.first(),
    }
}

/// What an output scores, by its shape.
enum Scored {
    /// So many classes.
    Classes(u64),
    /// More than one score a class, or none.
    Otherwise,
    Unknown,
}

/// Reads the shape of an output as the evaluation does: the first axis is the batch, other axes of size 1 do not count,
/// and a single score is that of the second of two classes.
fn scores_of(output: &ValueSummary) -> Scored {
    let Some(shape) = &output.shape else { return Scored::Unknown };
    let Some((_batch, rest)) = shape.split_first() else { return Scored::Otherwise };
    let wide: Vec<&Axis> = rest.iter().filter(|axis| **axis != Axis::Size(1)).collect();
    match wide.as_slice() {
        [] => Scored::Classes(2),
        [Axis::Size(classes)] => Scored::Classes(*classes),
        several if several.iter().all(|axis| matches!(axis, Axis::Size(_))) => Scored::Otherwise,
        _ => Scored::Unknown,
    }
}

/// Whether a batch of samples of this shape can be fed to the input.
fn shape_fits(input: &ValueSummary, sample: &[u64]) -> bool {
    let Some(shape) = &input.shape else { return true };
    shape.len() == sample.len() + 1 && shape[1..].iter().zip(sample).all(|(axis, size)| axis_fits(axis, *size))
}

fn axis_fits(axis: &Axis, size: u64) -> bool {
    match axis {
        Axis::Size(fixed) => *fixed == size,
        Axis::Symbol(_) | Axis::Unknown => true,
    }
}

/// Whether two values can have the same shape, the batch aside.
fn samples_agree(left: &ValueSummary, right: &ValueSummary) -> bool {
    let (Some(left), Some(right)) = (&left.shape, &right.shape) else { return true };
    left.len() == right.len()
        && left.iter().zip(right).skip(1).all(|pair| match pair {
            (Axis::Size(left), Axis::Size(right)) => left == right,
            _ => true,
        })
}

fn shape_message(input: &ValueSummary, array: &str, sample: &[u64]) -> String {
    let sample = sample.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "a sample of `{array}` has the shape [{sample}], but the model's input `{}` is {}",
        input.name,
        describe(input)
    )
}

fn describe(value: &ValueSummary) -> String {
    let Some(shape) = &value.shape else { return format!("{} of unknown rank", value.dtype) };
    let axes = shape.iter().map(|axis| match axis {
        Axis::Size(size) => size.to_string(),
        Axis::Symbol(name) => name.clone(),
        Axis::Unknown => "?".into(),
    });
    format!("{} [{}]", value.dtype, axes.collect::<Vec<_>>().join(", "))
}

enum NumberKind {
    Float,
    Integer,
    Bool,
}

fn kind_of_numpy(dtype: &str) -> Option<NumberKind> {
    match dtype {
        "bool" => Some(NumberKind::Bool),
        _ if dtype.starts_with("float") => Some(NumberKind::Float),
        _ if dtype.starts_with("int") || dtype.starts_with("uint") => Some(NumberKind::Integer),
        _ => None,
    }
}

fn is_float(onnx: &str) -> bool {
    matches!(onnx, "float" | "double" | "float16" | "bfloat16")
}

fn is_integer(onnx: &str) -> bool {
    matches!(onnx, "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64")
}

#[cfg(test)]
mod tests {
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
        assert!(
            only(found("evaluate", &json!({}), &classifier(), &images(&preprocess, 9))).message.contains("9 classes")
        );
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
            let replaced = found(
                "evaluate",
                &json!({"preprocess": wrong}),
                &classifier(),
                &images(&json!({"size": [32, 32]}), 10),
            );
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
}
