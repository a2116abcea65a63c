//! An evaluate step.

use std::path::Path;

use super::{StepContext, StepOutcome, Stop, load, locate};
use crate::engine;
use crate::evaluate::{EvaluateError, Evaluation};
use crate::onnx::model::Model;
use crate::spec::evaluate::EvaluateSpec;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::job::{Stage, Step, StepSpec};

/// Measures the model, beside its baseline where there is one: the one that the spec names, else the model that the job
/// started from where an earlier step has changed it.
pub(super) fn run(
    spec: &EvaluateSpec,
    step: &Step,
    candidate: &Path,
    context: &StepContext,
) -> Result<StepOutcome, Stop> {
    context.observer.stage(Stage::Loading, context.step);
    let original = locate(context.scratch, &context.task.model.file);
    let baseline = match spec.baseline_model_id {
        Some(id) if id == context.task.model.id => Some(load(&original, context.task)?),
        Some(id) => Some(named_model(id, context)?),
        None if candidate != original => Some(load(&original, context.task)?),
        None => None,
    };
    let candidate = load(candidate, context.task)?;
    let dataset = context.dataset(step, spec.preprocess.as_ref())?;
    context.observer.stage(Stage::Evaluating, context.step);
    let evaluation = Evaluation {
        engine: engine::onnx_runtime().map_err(Failure::from)?,
        candidate: &candidate,
        baseline: baseline.as_ref(),
        dataset: dataset.as_ref(),
        spec,
        threads: context.threads.max(1) as usize,
    };
    let evaluated =
        evaluation.run(context.observer, &|share| context.progress(share)).map_err(|error| match error {
            EvaluateError::Interrupted => Stop::Interrupted,
            error => Stop::Failed(error.into()),
        })?;
    let mut findings = evaluated.findings;
    let trained_on =
        |earlier: &Step| matches!(earlier.spec, StepSpec::Retrain(_)) && earlier.dataset_id == step.dataset_id;
    if step.dataset_id.is_some() && context.task.spec.steps[..context.step].iter().any(trained_on) {
        findings.push(
            "the quality was measured on data that an earlier step trained on, and flatters the model; name a test set in \
             the step's `dataset_id`"
                .to_owned(),
        );
    }
    let mut report = context.report(findings);
    report.evaluate = Some(evaluated.report);
    Ok(StepOutcome { model: None, report, plan: None })
}

fn named_model(id: uuid::Uuid, context: &StepContext) -> Result<Model, Failure> {
    let input = context
        .task
        .other_models
        .get(&id)
        .ok_or_else(|| Failure::new(FailureCode::Internal, format!("model {id} is not at hand")))?;
    load(&locate(context.scratch, &input.file), context.task)
}
