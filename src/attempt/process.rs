//! The hidden subcommand `secateur attempt`: what runs inside the child.
//!
//! Order matters: first the ties to the parent and the limits, then the input. The process ends in one of three ways:
//! with `outcome.json` written; killed, because its parent is gone or wants it gone; or by a crash, which the parent
//! reads from its exit status ([`super::death`]).

use std::any::Any;
use std::fs;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use tracing::{error, warn};

use super::outcome::OutcomeFile;
use super::reporter::Reporter;
use super::{limits, logs, watchdog};
use crate::cost::Host;
use crate::pipeline::{self, Stop};
use crate::spec::attempt::{AttemptJob, AttemptOutcome, REWRITTEN_MODEL, Task};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::summary::Inspection;

/// Runs the task of the scratch directory and leaves its outcome there.
///
/// `log_filter` is a `tracing` filter such as `info` or `secateur=debug`.
pub fn main(scratch: &Path, log_filter: &str) -> ExitCode {
    match run(scratch, log_filter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent turns an end without an outcome into a failure and keeps this line beside it.
            error!("The attempt could not begin or end: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(scratch: &Path, log_filter: &str) -> io::Result<()> {
    logs::start(log_filter);
    limits::follow_parent()?;
    hold_lifeline()?;
    let stop = Arc::new(AtomicBool::new(false));
    listen_for_drain(Arc::clone(&stop))?;
    let reporter = Reporter::take_stdout(stop)?;

    let job: AttemptJob = serde_json::from_slice(&fs::read(scratch.join("job.json"))?)?;
    limits::apply(&job.limits, job.threads)?;
    let outcome_file = Arc::new(OutcomeFile::new(scratch));
    watchdog::start(job.limits.memory_bytes, Arc::clone(&outcome_file))?;

    let outcome = guarded(|| perform(&job, scratch, &reporter));
    if !outcome_file.write(&outcome)? {
        // The watchdog has the word and is ending this process.
        loop {
            thread::park();
        }
    }
    Ok(())
}

fn perform(job: &AttemptJob, scratch: &Path, reporter: &Reporter) -> AttemptOutcome {
    let inspected = |inspection: Result<Inspection, Failure>| match inspection {
        Ok(inspection) => AttemptOutcome::Inspected { inspection },
        Err(failure) => AttemptOutcome::Failed { failure },
    };
    match &job.task {
        Task::Run(task) => {
            let host = task.host.as_deref().map_or_else(Host::alone, join);
            match pipeline::run(task, job.threads, scratch, &host, reporter) {
                Ok(finished) => AttemptOutcome::Finished(Box::new(finished)),
                Err(Stop::Interrupted) => AttemptOutcome::Interrupted,
                Err(Stop::Failed(failure)) => AttemptOutcome::Failed { failure },
            }
        }
        Task::InspectModel { file, data, limits } => {
            let file = pipeline::locate(scratch, file);
            let rewritten = scratch.join(REWRITTEN_MODEL);
            inspected(pipeline::inspect_model(&file, data, &rewritten, limits).map(Inspection::Model))
        }
        Task::InspectDataset { file, preprocess, limits } => {
            let file = pipeline::locate(scratch, file);
            inspected(pipeline::inspect_dataset(&file, preprocess.as_ref(), limits).map(Inspection::Dataset))
        }
    }
}

/// Joins the others on this machine. A job can be done without them: what it measures is then known to nobody else.
fn join(folder: &Path) -> Host {
    Host::join(folder).unwrap_or_else(|error| {
        warn!("The folder {} cannot be shared: {error}", folder.display());
        Host::alone()
    })
}

/// Turns a panic into a failure that names its message and place.
fn guarded(work: impl FnOnce() -> AttemptOutcome) -> AttemptOutcome {
    let place = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string);
        error!(panic.location = location.as_deref(), "Panic: {}", message_of(panic.payload()));
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = location;
    }));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = message_of(payload.as_ref());
        let place = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let at = place.map(|place| format!(" ({place})")).unwrap_or_default();
        let failure = Failure::new(FailureCode::Internal, format!("a defect of this software: {message}{at}"));
        AttemptOutcome::Failed { failure }
    })
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panic without a message")
}

/// Ends this process when its parent is gone: nobody writes to the pipe on standard input, its end of file is the sign.
/// The kernel's signal on the parent's death comes first where it works; it is lost when the parent dies before the
/// child has asked for it.
fn hold_lifeline() -> io::Result<()> {
    thread::Builder::new().name("lifeline".into()).stack_size(256 << 10).spawn(|| {
        let mut stdin = io::stdin().lock();
        let mut byte = [0];
        loop {
            match stdin.read(&mut byte) {
                Ok(0) => end_now(),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => end_now(),
                _ => {}
            }
        }
    })?;
    Ok(())
}

/// SIGTERM asks for a checkpoint and an orderly end. The handler is in place when this returns.
fn listen_for_drain(stop: Arc<AtomicBool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut terminations = {
        let _entered = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
    };
    thread::Builder::new().name("drain".into()).stack_size(256 << 10).spawn(move || {
        runtime.block_on(async {
            while terminations.recv().await.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
        });
    })?;
    Ok(())
}

/// Ends the process at once: no destructors of native libraries, no waiting for threads.
pub(super) fn end_now() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort();
}
