//! An analyze step.

use super::{StepContext, StepOutcome};
use crate::onnx::model::Model;
use crate::prune;
use crate::spec::analyze::AnalyzeSpec;
use crate::spec::failure::Failure;
use crate::spec::job::Stage;

/// Looks at the model; makes none.
pub(super) fn run(spec: &AnalyzeSpec, model: &Model, context: &StepContext) -> Result<StepOutcome, Failure> {
    context.observer.stage(Stage::Analyzing, context.step);
    let analysis = prune::analyze(model, spec)?;
    let mut report = context.report(analysis.findings);
    report.analyze = Some(analysis.report);
    Ok(StepOutcome { model: None, report, plan: None })
}
