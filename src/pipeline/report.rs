//! The report of a job from the reports of its steps.

use std::path::Path;

use super::checkpoint::FinishedStep;
use super::{current_model, load, locate};
use crate::cost;
use crate::engine::{self, Engine};
use crate::spec::attempt::RunTask;
use crate::spec::failure::Failure;
use crate::spec::report::{Environment, Measured, Report, Size};

/// Version of the report's shape.
const SCHEMA_VERSION: u32 = 1;

/// Puts the report together: the last evaluation's figures where there was one, else the sizes of what went in and came
/// out, which are one where nothing was made.
pub(super) fn assemble(
    task: &RunTask,
    threads: u32,
    scratch: &Path,
    steps: &[FinishedStep],
) -> Result<Report, Failure> {
    let evaluated = steps.iter().rev().find_map(|step| step.report.evaluate.as_ref());
    let (baseline, candidate) = if let Some(evaluation) = evaluated {
        (evaluation.baseline.clone(), Some(evaluation.candidate.clone()))
    } else {
        let (original, current) = (locate(scratch, &task.model.file), current_model(task, scratch, steps));
        let planned = planned(steps).map(|size| Measured { size, ..Measured::default() });
        let changed = planned.is_some() || current != original;
        let candidate = planned.map_or_else(|| size_only(&current, task), Ok)?;
        (changed.then(|| size_only(&original, task)).transpose()?, Some(candidate))
    };
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        kind: task.spec.kind,
        job_id: task.job_id,
        model_id: task.model.id,
        model_name: task.model.name.clone(),
        baseline,
        candidate,
        steps: steps.iter().map(|step| step.report.clone()).collect(),
        environment: environment(threads),
    })
}

/// The size that a dry run planned, where the job ended in one.
fn planned(steps: &[FinishedStep]) -> Option<Size> {
    let plan = steps.last()?.report.prune.as_ref().filter(|prune| prune.dry_run)?;
    Some(plan.size_after.clone())
}

fn size_only(file: &Path, task: &RunTask) -> Result<Measured, Failure> {
    Ok(Measured { size: cost::size(&load(file, task)?, &cost::ExampleShapes::new()), ..Measured::default() })
}

fn environment(threads: u32) -> Environment {
    Environment {
        secateur_version: env!("CARGO_PKG_VERSION").to_owned(),
        onnx_runtime: engine::onnx_runtime().ok().and_then(Engine::version),
        cpu: cost::processor(),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        threads,
    }
}
