//! Whether outputs can be scored: against the labels of a dataset, or beside a baseline.

use super::input::check_inputs;
use super::value::{Scored, describe, is_float, samples_agree, scored_output, scores_of};
use super::{Mismatch, Place};
use crate::spec::evaluate::EvaluateSpec;
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::{DatasetFormat, DatasetSummary, ModelSummary, ValueSummary};

/// What a step says of how a dataset is scored.
pub(super) struct Scoring<'a> {
    pub(super) preprocess: Option<&'a Preprocess>,
    pub(super) output: Option<&'a str>,
}

/// Checks inputs, labels and classes; returns the number of classes where it is known.
pub(super) fn check_scoring(
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

pub(super) fn check_top_k(spec: &EvaluateSpec, classes: Option<u64>, place: &Place, found: &mut Vec<Mismatch>) {
    if let Some(classes) = classes
        && u64::from(spec.top_k) > classes
        // The default means "five, or as many as there are".
        && spec.top_k != EvaluateSpec::default().top_k
    {
        let message = format!("must be at most the number of classes, {classes}, is {}", spec.top_k);
        found.push(Mismatch::spec(format!("{}/top_k", place.spec), message));
    }
}

/// Checks that a baseline takes what the model takes and scores what the model scores.
pub(super) fn check_baseline(
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
