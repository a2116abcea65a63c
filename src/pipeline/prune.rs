//! A prune step.

use super::{StepContext, StepOutcome};
use crate::data::Calibration;
use crate::onnx::model::Model;
use crate::prune;
use crate::spec::failure::Failure;
use crate::spec::job::{Stage, Step};
use crate::spec::prune::PruneSpec;

/// Prunes the model, with samples of the step's dataset where it has one, or made ones. No model comes out without a certificate, and none
/// of a dry run.
pub(super) fn run(spec: &PruneSpec, step: &Step, model: &Model, context: &StepContext) -> Result<StepOutcome, Failure> {
    let threads = context.threads.max(1) as usize;
    if step.dataset_id.is_some() {
        context.observer.stage(Stage::Loading, context.step);
    }
    let dataset = context.dataset(step, None)?;
    let made = spec.synthetic.as_ref().map(|_| prune::make_samples(model, spec, threads)).transpose();
    let made = made.map_err(prune::PruneError::from)?;
    let (made, synthetic) = made.map(|made| (made.dataset, made.report)).unzip();
    let samples = spec.calibration_samples as usize;
    let calibration = (dataset.as_ref().or(made.as_ref()))
        .map(|dataset| Calibration::new(dataset, model, samples, spec.seed))
        .transpose()?;
    let entered = |stage| context.observer.stage(stage, context.step);
    let mut pruned = prune::prune_beside_others(model, spec, calibration.as_ref(), threads, context.host, &entered)?;
    pruned.report.synthetic = synthetic;
    let (before, after) = (&pruned.report.size_before, &pruned.report.size_after);
    let (kind, are) = if spec.dry_run { ("planned", "would be") } else { ("pruned", "are") };
    context.observer.event(
        kind,
        format!("{} of {} parameters {are} left.", after.parameters, before.parameters),
        serde_json::json!({
            "parameters_before": before.parameters, "parameters_after": after.parameters,
            "macs_before": before.macs, "macs_after": after.macs,
            "nonzero_parameters_after": after.nonzero_parameters,
            "frozen": pruned.report.frozen.len(),
        }),
    );
    let plan = pruned.plan.as_ref().map(super::to_json_value).transpose()?;
    let mut report = context.report(pruned.findings);
    report.prune = Some(pruned.report);
    Ok(StepOutcome { model: Some(pruned.model).filter(|_| !spec.dry_run), report, plan })
}
