//! What a job has done so far, kept so that an attempt that was killed goes on from there.
//!
//! A checkpoint is a flat directory: `state.json` (the finished steps), `step-<i>.onnx` (the models they made) and, in
//! the middle of a training step, the files of its loop. It is written under a temporary name and renamed, so that an
//! announced checkpoint is complete. Models are linked, not copied: content that did not change is not stored again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::spec::attempt::{AttemptMessage, OutputModel};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::observer::Observer;
use crate::spec::report::StepReport;
use crate::train::checkpoint::Checkpoints;

const STATE_FILE: &str = "state.json";

/// A finished step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedStep {
    pub report: StepReport,
    /// The model that the step made; an evaluation makes none.
    pub model: Option<OutputModel>,
    /// The plan of a structured cut.
    pub plan: Option<serde_json::Value>,
}

/// `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub finished: Vec<FinishedStep>,
    /// Running time that earlier attempts spent on the step after the finished ones.
    pub spent_ms: u64,
    /// Whether the files of a training loop lie beside this file; they belong to the step after the finished ones.
    pub training: bool,
}

/// Keeps the state of one attempt and writes it down.
pub struct Checkpointer<'a> {
    scratch: &'a Path,
    observer: &'a dyn Observer,
    interval: Duration,
    resume: Option<PathBuf>,
    state: State,
    /// Number of the next directory under `checkpoints/`.
    next: u32,
    last_saved: Instant,
    step_started: Instant,
}

impl std::fmt::Debug for Checkpointer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpointer")
            .field("scratch", &self.scratch)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<'a> Checkpointer<'a> {
    /// Goes on from the checkpoint in `resume`, or starts with nothing done. Models of finished steps come back into
    /// `outputs/`.
    ///
    /// Errors: `internal` where the checkpoint cannot be read, `storage_full` where the models do not fit.
    pub fn open(
        scratch: &'a Path,
        resume: Option<PathBuf>,
        interval: Duration,
        observer: &'a dyn Observer,
    ) -> Result<Self, Failure> {
        let state = match &resume {
            Some(directory) => {
                read_state(directory, &scratch.join("outputs")).map_err(|e| io_failure("the checkpoint", &e))?
            }
            None => State::default(),
        };
        let now = Instant::now();
        Ok(Self { scratch, observer, interval, resume, state, next: 0, last_saved: now, step_started: now })
    }

    /// The steps that are done.
    pub fn finished(&self) -> &[FinishedStep] {
        &self.state.finished
    }

    /// Starts the clock of the next step.
    pub fn begin_step(&mut self) {
        self.step_started = Instant::now();
    }

    /// Running time of the current step over all attempts.
    pub fn step_time(&self) -> Duration {
        Duration::from_millis(self.state.spent_ms) + self.step_started.elapsed()
    }

    /// Adds a finished step and writes a checkpoint; returns its directory, which the caller announces.
    pub fn finish_step(&mut self, step: FinishedStep) -> Result<String, Failure> {
        self.state.finished.push(step);
        self.state.spent_ms = 0;
        self.resume = None;
        self.begin_step();
        self.write(false, &mut |_| Ok(())).map_err(|e| io_failure("a checkpoint", &e))
    }

    fn write(&mut self, training: bool, files: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<String> {
        let name = self.next.to_string();
        let folder = self.scratch.join("checkpoints");
        let partial = folder.join(format!("{name}.partial"));
        fs::create_dir_all(&partial)?;
        let mut state = self.state.clone();
        state.training = training;
        if training {
            state.spent_ms = self.step_time().as_millis() as u64;
        }
        fs::write(partial.join(STATE_FILE), serde_json::to_vec(&state)?)?;
        for model in state.finished.iter().filter_map(|step| step.model.as_ref()) {
            link_or_copy(&self.scratch.join("outputs").join(&model.file), &partial.join(&model.file))?;
        }
        files(&partial)?;
        fs::rename(&partial, folder.join(&name))?;
        self.next += 1;
        self.last_saved = Instant::now();
        Ok(name)
    }
}

impl Checkpoints for Checkpointer<'_> {
    fn load(&self) -> Option<PathBuf> {
        self.resume.clone().filter(|_| self.state.training)
    }

    fn due(&self) -> bool {
        self.last_saved.elapsed() >= self.interval
    }

    fn save(&mut self, write: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
        let directory = self.write(true, write)?;
        self.observer.tell(AttemptMessage::Checkpoint { directory });
        Ok(())
    }
}

fn read_state(directory: &Path, outputs: &Path) -> io::Result<State> {
    let state: State = serde_json::from_slice(&fs::read(directory.join(STATE_FILE))?)?;
    fs::create_dir_all(outputs)?;
    for model in state.finished.iter().filter_map(|step| step.model.as_ref()) {
        link_or_copy(&directory.join(&model.file), &outputs.join(&model.file))?;
    }
    Ok(state)
}

/// A second name for a file that is not written any more, or a copy where the file system has no links.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}

/// What an error of the file system means to the job.
pub fn io_failure(what: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Failure::new(FailureCode::StorageFull, format!("no room for {what}: {error}"))
        }
        io::ErrorKind::Unsupported => Failure::new(FailureCode::Unsupported, format!("{what}: {error}")),
        _ => Failure::new(FailureCode::Internal, format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::spec::job::StepKind;

    #[derive(Default)]
    struct Announced(Mutex<Vec<String>>);

    impl Observer for Announced {
        fn tell(&self, message: AttemptMessage) {
            if let AttemptMessage::Checkpoint { directory } = message {
                self.0.lock().unwrap().push(directory);
            }
        }

        fn should_stop(&self) -> bool {
            false
        }
    }

    fn step(index: usize) -> FinishedStep {
        FinishedStep {
            report: StepReport {
                step: index,
                kind: StepKind::Evaluate,
                duration_ms: 1,
                findings: vec![],
                analyze: None,
                prune: None,
                retrain: None,
                evaluate: None,
            },
            model: None,
            plan: None,
        }
    }

    #[test]
    fn an_announced_checkpoint_is_complete_and_can_be_gone_on_from() {
        let scratch = tempfile::tempdir().unwrap();
        let heard = Announced::default();
        let mut first = Checkpointer::open(scratch.path(), None, Duration::ZERO, &heard).unwrap();
        assert_eq!(first.finish_step(step(0)).unwrap(), "0");
        first.save(&mut |directory| fs::write(directory.join("training.bin"), b"weights")).unwrap();
        let names = heard.0.lock().unwrap().clone();
        assert_eq!(names, ["1"], "the end of a step is announced by whoever ends it");

        let last = scratch.path().join("checkpoints").join(&names[0]);
        let second = Checkpointer::open(scratch.path(), Some(last.clone()), Duration::ZERO, &heard).unwrap();
        assert_eq!(second.finished(), [step(0)]);
        assert_eq!(second.load(), Some(last.clone()));
        assert_eq!(fs::read(last.join("training.bin")).unwrap(), b"weights");
    }

    #[test]
    fn training_files_belong_to_one_step_only() {
        let scratch = tempfile::tempdir().unwrap();
        let heard = Announced::default();
        let mut job = Checkpointer::open(scratch.path(), None, Duration::ZERO, &heard).unwrap();
        job.save(&mut |directory| fs::write(directory.join("training.bin"), b"weights")).unwrap();
        let resume = scratch.path().join("checkpoints/0");
        // The next attempt has a scratch directory of its own.
        let next = tempfile::tempdir().unwrap();
        let mut resumed = Checkpointer::open(next.path(), Some(resume), Duration::ZERO, &heard).unwrap();
        assert!(resumed.load().is_some());
        resumed.finish_step(step(0)).unwrap();
        assert_eq!(resumed.load(), None, "the next training step starts afresh");
    }

    #[test]
    fn a_checkpoint_that_could_not_be_written_is_not_announced() {
        let scratch = tempfile::tempdir().unwrap();
        let heard = Announced::default();
        let mut job = Checkpointer::open(scratch.path(), None, Duration::ZERO, &heard).unwrap();
        let full = job.save(&mut |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
        assert!(full.is_err());
        assert!(heard.0.lock().unwrap().is_empty());
    }
}
