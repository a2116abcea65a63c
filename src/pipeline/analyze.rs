//! An analyze step.

use super::{StepContext, StepOutcome};
use crate::data::Calibration;
use crate::onnx::model::Model;
use crate::prune;
use crate::spec::analyze::AnalyzeSpec;
use crate::spec::failure::Failure;
use crate::spec::job::{Stage, Step};

/// Looks at the model, on samples of the step's dataset where it has one; makes none.
pub(super) fn run(
    spec: &AnalyzeSpec,
    step: &Step,
    model: &Model,
    context: &StepContext,
) -> Result<StepOutcome, Failure> {
    if step.dataset_id.is_some() {
        context.observer.stage(Stage::Loading, context.step);
    }
    let dataset = context.dataset(step, spec.preprocess.as_ref())?;
    let samples = spec.calibration_samples as usize;
    let calibration =
        dataset.as_ref().map(|dataset| Calibration::new(dataset, model, samples, spec.seed)).transpose()?;
    context.observer.stage(Stage::Analyzing, context.step);
    let threads = context.threads.max(1) as usize;
    let analysis = prune::analyze(model, spec, calibration.as_ref().map(Calibration::fitting), threads)?;
    let mut report = context.report(analysis.findings);
    report.analyze = Some(analysis.report);
    Ok(StepOutcome { model: None, report, plan: None })
}
