//! A retrain step.

use super::checkpoint::Checkpointer;
use super::{StepContext, StepOutcome, Stop};
use crate::onnx::model::Model;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::job::{Stage, Step};
use crate::spec::retrain::RetrainSpec;
use crate::train::{self, TrainError};

/// Trains the model on the step's dataset, from the checkpoint where there is one.
pub(super) fn run(
    spec: &RetrainSpec,
    step: &Step,
    model: &Model,
    context: &StepContext,
    checkpoints: &mut Checkpointer,
) -> Result<StepOutcome, Stop> {
    context.observer.stage(Stage::Loading, context.step);
    let dataset = context
        .dataset(step, spec.preprocess.as_ref())?
        .ok_or_else(|| Failure::new(FailureCode::InvalidSpec, "a retrain step needs a dataset"))?;
    context.observer.stage(Stage::Retraining, context.step);
    let mut training = train::Context {
        threads: context.threads,
        observer: context.observer,
        checkpoints,
        step: context.step,
        progress: context.part.clone(),
    };
    let trained = train::retrain(model, &dataset, spec, &mut training).map_err(|error| match error {
        TrainError::Interrupted => Stop::Interrupted,
        error => Stop::Failed(error.into()),
    })?;
    let mut report = context.report(trained.findings);
    report.retrain = Some(trained.report);
    Ok(StepOutcome { model: Some(trained.model), report, plan: None })
}
