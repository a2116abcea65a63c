//! A prune step.

use super::{StepContext, StepOutcome};
use crate::onnx::model::Model;
use crate::prune;
use crate::spec::failure::Failure;
use crate::spec::prune::PruneSpec;

/// Prunes the model; nothing comes out without a certificate.
pub(super) fn run(spec: &PruneSpec, model: &Model, context: &StepContext) -> Result<StepOutcome, Failure> {
    let threads = context.threads.max(1) as usize;
    let pruned = prune::prune(model, spec, threads, &|stage| context.observer.stage(stage, context.step))?;
    let (before, after) = (&pruned.report.size_before, &pruned.report.size_after);
    context.observer.event(
        "pruned",
        format!("{} of {} parameters are left.", after.parameters, before.parameters),
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
    Ok(StepOutcome { model: Some(pruned.model), report, plan })
}
