//! A job on the digits example in a scratch directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use secateur::cost::Host;
use secateur::pipeline::{self, Stop};
use secateur::spec::attempt::{
    AttemptMessage, DatasetLimits, Finished, InputDataset, InputModel, MadeModel, ModelLimits, RunTask, StepEnd,
};
use secateur::spec::job::{JobKind, JobRequest};
use secateur::spec::observer::Observer;
use secateur::spec::preprocess::Preprocess;
use secateur::spec::report::Report;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// A job and its scratch directory.
pub struct Digits {
    scratch: TempDir,
    task: Mutex<RunTask>,
    announced: Mutex<Vec<String>>,
    ended: Mutex<Vec<StepEnd>>,
    handed_over: Mutex<Vec<MadeModel>>,
}

impl Digits {
    pub const TRAINING_SET: Uuid = Uuid::from_u128(2);
    pub const TEST_SET: Uuid = Uuid::from_u128(3);

    /// A job of this kind and spec; evaluations alone are given the test set.
    pub fn new(kind: JobKind, spec: &Value) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
        let model = InputModel {
            id: Uuid::from_u128(1),
            name: "digits".into(),
            file: folder.join("digits.onnx"),
            sha256: String::new(),
        };
        let dataset = |id, name: &str| {
            let preprocess = Preprocess { divide_by: 16.0, ..Preprocess::default() };
            let file = folder.join(name);
            let summary = pipeline::inspect_dataset(&file, Some(&preprocess), &DatasetLimits::default()).unwrap();
            (id, InputDataset { id, file, summary })
        };
        let dataset_id = if kind == JobKind::Evaluate { Self::TEST_SET } else { Self::TRAINING_SET };
        let request = json!({"kind": kind, "model_id": model.id, "dataset_id": dataset_id, "spec": spec});
        let request: JobRequest = serde_json::from_value(request).unwrap();
        let task = RunTask {
            job_id: Uuid::from_u128(9),
            spec: request.parse().unwrap(),
            model,
            other_models: BTreeMap::new(),
            datasets: [dataset(Self::TRAINING_SET, "digits-train.npz"), dataset(Self::TEST_SET, "digits-test.npz")]
                .into(),
            resume: None,
            checkpoint_interval_ms: 60_000,
            host: None,
            model_limits: ModelLimits::default(),
            dataset_limits: DatasetLimits::default(),
        };
        let scratch = tempfile::tempdir().unwrap();
        Self {
            scratch,
            task: Mutex::new(task),
            announced: Mutex::default(),
            ended: Mutex::default(),
            handed_over: Mutex::default(),
        }
    }

    /// Runs the job on one thread until it ends or is interrupted.
    pub fn run(&self, interruptions: &Interruptions) -> Result<Finished, Stop> {
        let observer = Watched { digits: self, interruptions };
        pipeline::run(&self.task.lock().unwrap(), 1, self.scratch.path(), &Host::alone(), &observer)
    }

    /// Lays the scratch directory of the next attempt: nothing but the last checkpoint.
    pub fn resume_from_last_checkpoint(&self) {
        let root = self.scratch.path();
        let _ = fs::remove_dir_all(root.join("outputs"));
        if let Some(last) = self.announced.lock().unwrap().pop() {
            let _ = fs::remove_dir_all(root.join("resume"));
            fs::rename(root.join("checkpoints").join(last), root.join("resume")).unwrap();
            self.task.lock().unwrap().resume = Some(PathBuf::from("resume"));
        }
        let _ = fs::remove_dir_all(root.join("checkpoints"));
        self.announced.lock().unwrap().clear();
    }

    /// The models that steps handed over as they ended.
    pub fn handed_over(&self) -> Vec<MadeModel> {
        self.handed_over.lock().unwrap().clone()
    }

    /// The steps that ended, in all attempts.
    pub fn ended(&self) -> Vec<usize> {
        self.ended.lock().unwrap().iter().map(|end| end.step).collect()
    }

    pub fn report(&self, finished: &Finished) -> Report {
        serde_json::from_slice(&fs::read(self.scratch.path().join("outputs").join(&finished.report)).unwrap()).unwrap()
    }

    /// The bytes of the last model.
    pub fn output(&self, finished: &Finished) -> Vec<u8> {
        // The model that came out is the last one made, also where no model was made by the last step.
        let made = finished.model.clone().or_else(|| Some(self.handed_over().pop()?.model)).unwrap();
        fs::read(self.scratch.path().join("outputs").join(&made.file)).unwrap()
    }
}

/// When a job is asked to stop.
pub struct Interruptions {
    asked: AtomicU64,
    after: u64,
}

impl Interruptions {
    /// Never.
    pub fn none() -> Self {
        Self::after_asking(u64::MAX)
    }

    /// Once it has looked this many times whether it should.
    pub fn after_asking(after: u64) -> Self {
        Self { asked: AtomicU64::new(0), after }
    }
}

struct Watched<'a> {
    digits: &'a Digits,
    interruptions: &'a Interruptions,
}

impl Observer for Watched<'_> {
    fn tell(&self, message: AttemptMessage) {
        match message {
            AttemptMessage::Checkpoint { directory } => self.digits.announced.lock().unwrap().push(directory),
            AttemptMessage::StepFinished(end) => {
                let outputs = self.digits.scratch.path().join("outputs");
                let made = end.made.as_ref().map(|name| fs::read(outputs.join(name)).unwrap());
                let made = made.map(|bytes| serde_json::from_slice(&bytes).unwrap());
                self.digits.handed_over.lock().unwrap().extend(made);
                self.digits.announced.lock().unwrap().push(end.directory.clone());
                self.digits.ended.lock().unwrap().push(*end);
            }
            AttemptMessage::Stage { .. } | AttemptMessage::Progress { .. } | AttemptMessage::Event { .. } => {}
        }
    }

    fn should_stop(&self) -> bool {
        self.interruptions.asked.fetch_add(1, Ordering::Relaxed) >= self.interruptions.after
    }
}
