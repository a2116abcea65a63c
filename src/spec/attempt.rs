//! What crosses the border between a worker and its attempt process: the job file it is given, the lines it writes to
//! its standard output, and the outcome it leaves behind.
//!
//! Scratch directory of one attempt (one per job and fencing token):
//!
//! ```text
//! job.json                 AttemptJob, written by the launcher
//! resume/                  the last checkpoint's files, absent on a first attempt
//! checkpoints/<n>/         complete directories, announced by AttemptMessage::Checkpoint or StepFinished
//! outputs/                 models, MadeModel of each that is handed over early, report.json, plan.json
//! outcome.json             AttemptOutcome, written last
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::failure::Failure;
use super::job::{JobSpec, Stage};
use super::preprocess::Preprocess;
use super::report::Certificate;
use super::summary::{DatasetSummary, Inspection, ModelSummary};

/// The file in a scratch directory that a look into an uploaded model leaves where the upload was not one plain file.
pub const REWRITTEN_MODEL: &str = "model.onnx";

/// `job.json`: all that an attempt knows. No credentials, no addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptJob {
    pub task: Task,
    pub limits: Limits,
    /// Threads for numeric work.
    pub threads: u32,
    /// Ids for the logs; absent when an upload is inspected.
    #[serde(default)]
    pub log_fields: BTreeMap<String, String>,
}

/// What the attempt process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Run a job.
    Run(Box<RunTask>),
    /// Look into an uploaded model with its data files by name; paths are relative to the scratch directory or absolute.
    /// Where it has to be kept in another form, that lies in [`REWRITTEN_MODEL`] afterwards.
    InspectModel { file: PathBuf, data: BTreeMap<String, PathBuf>, limits: ModelLimits },
    /// Look into an uploaded dataset.
    InspectDataset { file: PathBuf, preprocess: Option<Preprocess>, limits: DatasetLimits },
}

/// A job with its inputs at hand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunTask {
    pub job_id: Uuid,
    pub spec: JobSpec,
    pub model: InputModel,
    /// Other models that steps name (baselines), by id.
    #[serde(default)]
    pub other_models: BTreeMap<Uuid, InputModel>,
    #[serde(default)]
    pub datasets: BTreeMap<Uuid, InputDataset>,
    /// Directory of the checkpoint to go on from, relative to the scratch directory.
    #[serde(default)]
    pub resume: Option<PathBuf>,
    /// Longest time between two checkpoints of a training loop.
    pub checkpoint_interval_ms: u64,
    /// Folder that the attempts on this machine share: what they measured, and a lock that tells who is at work. Made where
    /// it is missing; `None` where an attempt works by itself.
    #[serde(default)]
    pub host: Option<PathBuf>,
    #[serde(default)]
    pub model_limits: ModelLimits,
    #[serde(default)]
    pub dataset_limits: DatasetLimits,
}

/// A model file in reach of the attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputModel {
    pub id: Uuid,
    pub name: String,
    pub file: PathBuf,
    pub sha256: String,
}

/// A dataset file in reach of the attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputDataset {
    pub id: Uuid,
    pub file: PathBuf,
    pub summary: DatasetSummary,
}

/// Limits that the attempt process sets on itself, first thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Anonymous resident memory above which the watchdog ends the process as `out_of_memory`.
    pub memory_bytes: u64,
    /// Wall-clock time left to the job.
    pub deadline_ms: u64,
    /// Largest file that may be written.
    pub file_bytes: u64,
    pub open_files: u64,
}

/// Sizes beyond which a model is refused; settings of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelLimits {
    pub nodes: u64,
    pub initializers: u64,
    /// Depth of nested messages (subgraphs, functions, types).
    pub nesting: u32,
    /// Elements of one tensor.
    pub tensor_elements: u64,
    /// Bytes of all strings and names together.
    pub string_bytes: u64,
    /// Bytes that sparse tensors may take together once they are written out.
    pub sparse_bytes: u64,
}

impl Default for ModelLimits {
    fn default() -> Self {
        Self {
            nodes: 200_000,
            initializers: 200_000,
            nesting: 48,
            tensor_elements: 1 << 32,
            string_bytes: 64 << 20,
            sparse_bytes: 1 << 30,
        }
    }
}

/// Sizes beyond which a dataset is refused; settings of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetLimits {
    /// Files in an archive.
    pub entries: u64,
    /// Bytes of all entries, counted while they are decompressed.
    pub unpacked_bytes: u64,
    /// Unpacked ÷ packed of one entry above the first mebibyte.
    pub ratio: u64,
    /// Pixels of one image.
    pub image_pixels: u64,
}

impl Default for DatasetLimits {
    fn default() -> Self {
        Self { entries: 10_000_000, unpacked_bytes: 64 << 30, ratio: 1_000, image_pixels: 64 << 20 }
    }
}

/// One line of JSON on the attempt's standard output. Lines stay small, whatever the model is: a line that is too long
/// fails the attempt, so what grows with the model is written to a file that the line names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum AttemptMessage {
    /// The stage and the step it belongs to (0-based).
    Stage { stage: Stage, step: usize },
    /// Share of the whole job that is done, 0..=1; never falls within an attempt.
    Progress { fraction: f64 },
    /// Something worth keeping in the job's history.
    Event { event: JobEvent },
    /// `checkpoints/<directory>` is complete and may be stored.
    Checkpoint { directory: String },
    /// A step is done.
    StepFinished(Box<StepEnd>),
}

/// The end of a step: what the worker keeps of it at once, so that nothing that comes later can take it away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEnd {
    /// The step (0-based).
    pub step: usize,
    /// `checkpoints/<directory>` is complete; a later attempt that goes on from it does not do the step again.
    pub directory: String,
    /// Name of the file in `outputs/` with the [`MadeModel`] that is to be published. `None` where the step made no model,
    /// and of the job's last step, whose model is published with the report.
    pub made: Option<String>,
    /// What the history says of it.
    pub event: JobEvent,
}

/// A step's model with all that is published of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MadeModel {
    /// Its file lies in the checkpoint behind the step too.
    pub model: OutputModel,
    /// Proof that came with the model.
    pub certificate: Option<Certificate>,
}

/// Something that happened in a job and stays in its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Stable name: `epoch`, `step_finished`, `pruned`, `checkpoint`, `finding`, …
    pub kind: String,
    /// One sentence for people.
    pub message: String,
    /// The figures.
    #[serde(default)]
    pub data: serde_json::Value,
}

/// `outcome.json`: how the attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The job is done.
    Finished(Box<Finished>),
    /// An upload is sound.
    Inspected { inspection: Inspection },
    /// The attempt was asked to stop and left a checkpoint; the job goes on later.
    Interrupted,
    /// The job cannot be done.
    Failed { failure: Failure },
}

/// What a finished job leaves, as files in `outputs/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The model that the last step made; the models of earlier steps were handed over as those ended.
    pub model: Option<OutputModel>,
    /// Those earlier steps, in this attempt or in one before. Nothing is published where one of them was not kept.
    pub earlier: Vec<usize>,
    /// Name of the report's file.
    pub report: String,
    /// Name of the plan's file, where something was cut.
    pub plan: Option<String>,
}

/// A model that a step made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputModel {
    /// The step (0-based).
    pub step: usize,
    /// Name of the file in `outputs/` and in checkpoints.
    pub file: String,
    pub summary: ModelSummary,
}
