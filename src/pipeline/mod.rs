//! Job kinds as pure functions: a spec and inputs go in, an outcome comes out. Knows nothing of HTTP, SQL or buckets, so
//! that the attempt process, the command line and the tests all run it bare.
//!
//! A job is a list of steps; each takes the model that the one before it made. Each kind of step is one file here that
//! joins the layers below; this file runs the list, [`checkpoint`] remembers how far it came, [`report`] tells what
//! came out.

mod analyze;
mod checkpoint;
mod evaluate;
mod inspect;
mod progress;
mod prune;
mod report;
mod retrain;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cost::Host;
use crate::data::Dataset;
use crate::onnx::model::Model;
use crate::spec::attempt::{AttemptMessage, Finished, JobEvent, MadeModel, OutputModel, RunTask, StepEnd};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::job::{Stage, Step, StepSpec};
use crate::spec::observer::Observer;
use crate::spec::preprocess::Preprocess;
use crate::spec::report::StepReport;

use checkpoint::{Checkpointer, FinishedStep, io_failure};
pub use inspect::{inspect_dataset, inspect_model};

/// Why a job returned before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was asked to stop and left a checkpoint.
    Interrupted,
    /// It cannot be done.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What every kind of step is given.
struct StepContext<'a> {
    task: &'a RunTask,
    threads: u32,
    scratch: &'a Path,
    observer: &'a dyn Observer,
    host: &'a Host,
    /// Position in the job, 0-based.
    step: usize,
    /// The part of the job's progress that the step has.
    part: Range<f64>,
}

impl StepContext<'_> {
    /// Opens the step's dataset with its own preprocessing or the job's replacement.
    fn dataset(&self, step: &Step, preprocess: Option<&Preprocess>) -> Result<Option<Dataset>, Failure> {
        let Some(id) = step.dataset_id else { return Ok(None) };
        let Some(input) = self.task.datasets.get(&id) else {
            return Err(Failure::new(FailureCode::Internal, format!("dataset {id} is not at hand")));
        };
        let preprocess = preprocess.or(input.summary.preprocess.as_ref());
        let path = locate(self.scratch, &input.file);
        Ok(Some(Dataset::open(&path, preprocess, &self.task.dataset_limits)?))
    }

    /// Tells that a share of the step is done.
    fn progress(&self, share: f64) {
        let fraction = self.part.start + (self.part.end - self.part.start) * share.clamp(0.0, 1.0);
        self.observer.tell(AttemptMessage::Progress { fraction });
    }

    /// The step's report without what is particular to its kind; the duration is filled in at its end.
    fn report(&self, findings: Vec<String>) -> StepReport {
        StepReport {
            step: self.step,
            kind: self.task.spec.steps[self.step].spec.kind(),
            duration_ms: 0,
            findings,
            analyze: None,
            prune: None,
            retrain: None,
            evaluate: None,
        }
    }
}

/// What a step leaves.
struct StepOutcome {
    /// The model it made, if it makes one.
    model: Option<Model>,
    report: StepReport,
    plan: Option<serde_json::Value>,
}

/// Runs a job in its scratch directory (laid out as [`crate::spec::attempt`] says) and leaves its files in `outputs/`.
/// `host` is where latency is measured.
///
/// Errors: [`Stop::Interrupted`] after `observer.should_stop()`, with a checkpoint announced; else the job's failure.
pub fn run(
    task: &RunTask,
    threads: u32,
    scratch: &Path,
    host: &Host,
    observer: &dyn Observer,
) -> Result<Finished, Stop> {
    let outputs = scratch.join("outputs");
    fs::create_dir_all(&outputs).map_err(|e| io_failure("the outputs", &e))?;
    let resume = task.resume.as_ref().map(|directory| locate(scratch, directory));
    let interval = Duration::from_millis(task.checkpoint_interval_ms);
    let mut checkpointer = Checkpointer::open(scratch, resume, interval, observer)?;
    let parts = progress::parts(task.spec.steps.iter().map(|step| step.spec.kind()));

    for (index, step) in task.spec.steps.iter().enumerate().skip(checkpointer.finished().len()) {
        if observer.should_stop() {
            return Err(Stop::Interrupted);
        }
        let context = StepContext { task, threads, scratch, observer, host, step: index, part: parts[index].clone() };
        let current = current_model(task, scratch, checkpointer.finished());
        context.progress(0.0);
        checkpointer.begin_step();
        let mut outcome = match &step.spec {
            StepSpec::Analyze(spec) => analyze::run(spec, step, &load(&current, task)?, &context)?,
            StepSpec::Prune(spec) => prune::run(spec, step, &load(&current, task)?, &context)?,
            StepSpec::Retrain(spec) => retrain::run(spec, step, &load(&current, task)?, &context, &mut checkpointer)?,
            StepSpec::Evaluate(spec) => evaluate::run(spec, step, &current, &context)?,
        };
        outcome.report.duration_ms = checkpointer.step_time().as_millis() as u64;
        let model = match outcome.model {
            Some(model) => Some(write_model(&model, index, &outputs)?),
            None => None,
        };
        context.progress(1.0);
        let event = JobEvent {
            kind: "step_finished".into(),
            message: format!("Step {} ({}) is done.", index + 1, step.spec.kind().as_str()),
            data: serde_json::json!({
                "step": index, "kind": step.spec.kind(), "duration_ms": outcome.report.duration_ms,
            }),
        };
        let goes_on = index + 1 < task.spec.steps.len();
        let made = match &model {
            Some(model) if goes_on => Some(write_made(model, &outcome.report, &outputs)?),
            Some(_) | None => None,
        };
        let finished = FinishedStep { report: outcome.report, model, plan: outcome.plan };
        let directory = checkpointer.finish_step(finished)?;
        let end = StepEnd { step: index, directory, made, event };
        observer.tell(AttemptMessage::StepFinished(Box::new(end)));
    }
    observer.stage(Stage::Publishing, task.spec.steps.len() - 1);
    finish(task, threads, scratch, checkpointer.finished())
}

/// Writes report and plan and lists what the job leaves.
fn finish(task: &RunTask, threads: u32, scratch: &Path, steps: &[FinishedStep]) -> Result<Finished, Stop> {
    let outputs = scratch.join("outputs");
    let write = |name: &str, bytes: Vec<u8>| {
        fs::write(outputs.join(name), bytes).map_err(|e| io_failure(name, &e))?;
        Ok::<_, Failure>(name.to_owned())
    };
    let report = report::assemble(task, threads, scratch, steps)?;
    let report = write("report.json", to_json_value(&report)?.to_string().into_bytes())?;
    let cuts: Vec<serde_json::Value> = steps
        .iter()
        .enumerate()
        .filter_map(|(step, finished)| Some(serde_json::json!({"step": step, "plan": finished.plan.as_ref()?})))
        .collect();
    let plan = if cuts.is_empty() {
        None
    } else {
        Some(write("plan.json", serde_json::json!({ "cuts": cuts }).to_string().into_bytes())?)
    };
    let (last, before) = steps.split_last().map_or((None, steps), |(last, before)| (Some(last), before));
    let earlier = before.iter().filter_map(|step| Some(step.model.as_ref()?.step)).collect();
    Ok(Finished { model: last.and_then(|step| step.model.clone()), earlier, report, plan })
}

/// A result as JSON. Results are plain data, so that a failure is a defect.
fn to_json_value(value: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new(FailureCode::Internal, format!("a result has no JSON form: {error}")))
}

/// The file of the model that the next step takes: the last one made, or the job's own.
fn current_model(task: &RunTask, scratch: &Path, finished: &[FinishedStep]) -> PathBuf {
    match finished.iter().rev().find_map(|step| step.model.as_ref()) {
        Some(model) => scratch.join("outputs").join(&model.file),
        None => locate(scratch, &task.model.file),
    }
}

fn load(file: &Path, task: &RunTask) -> Result<Model, Failure> {
    Ok(Model::load(file, &task.model_limits)?)
}

/// Saves a step's model under its final name and looks at it as an upload is looked at.
fn write_model(model: &Model, step: usize, outputs: &Path) -> Result<OutputModel, Failure> {
    let file = format!("step-{step}.onnx");
    let partial = outputs.join(format!("{file}.partial"));
    model
        .save(&partial)
        .and_then(|()| fs::rename(&partial, outputs.join(&file)))
        .map_err(|e| io_failure("the model", &e))?;
    Ok(OutputModel { step, file, summary: inspect::summarize(model) })
}

/// Writes down what is published of a step's model before the job ends; returns the file's name in `outputs/`.
fn write_made(model: &OutputModel, report: &StepReport, outputs: &Path) -> Result<String, Failure> {
    let made = MadeModel { model: model.clone(), certificate: report.certificate().cloned() };
    let name = format!("step-{}.json", model.step);
    fs::write(outputs.join(&name), to_json_value(&made)?.to_string()).map_err(|e| io_failure(&name, &e))?;
    Ok(name)
}

/// Where a path of the job file leads: relative paths start at the scratch directory.
pub fn locate(scratch: &Path, path: &Path) -> PathBuf {
    scratch.join(path)
}
