//! Whether a job's model and datasets fit together, told from their stored summaries alone, so that a job that cannot
//! work is refused when it is submitted and not an hour later.
//!
//! What a summary does not know (a free axis, an unknown rank) is compatible with anything: the job itself finds out.
//! Every step of a pipeline is held against the model that the pipeline starts from: pruning and retraining keep the
//! shapes of inputs and outputs.

mod input;
mod score;
mod synthetic;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::failure::FailureCode;
use super::job::{JobKind, JobSpec, StepSpec};
use super::summary::{DatasetSummary, ModelSummary};
use input::check_inputs;
use score::{Scoring, check_baseline, check_scoring, check_top_k};
use synthetic::check_synthetic;

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
            StepSpec::Analyze(analyze) => {
                if let Some(dataset) = dataset {
                    check_inputs(inputs.model, dataset, analyze.preprocess.as_ref(), &place, &mut found);
                }
            }
            StepSpec::Prune(prune) => {
                if let Some(dataset) = dataset {
                    check_inputs(inputs.model, dataset, None, &place, &mut found);
                }
                if let Some(wishes) = &prune.synthetic {
                    check_synthetic(inputs.model, wishes, &place, &mut found);
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
