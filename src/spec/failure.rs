//! Why something was refused or failed: one stable code for each reason, the same in HTTP problems, in a job's `error`
//! and in logs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The reason of a refusal or failure, stable across releases.
///
/// HTTP problems and job errors draw from this one list; [`FailureCode::disposition`] says what the queue does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The uploaded model is not sound: not protobuf, no graph, dangling inputs, cycles, sizes that do not match.
    InvalidModel,
    /// Data files beside the uploaded model and what it says of them do not fit: a file is missing, unused or too short, or
    /// a name is not that of a file beside it.
    ExternalData,
    /// The uploaded dataset cannot be read.
    InvalidDataset,
    /// The job's spec cannot be carried out on this model and dataset.
    InvalidSpec,
    /// Dataset and model do not fit together (shape, dtype, number of classes).
    DatasetMismatch,
    /// A step asks for something that needs a dataset, and there is none.
    DatasetRequired,
    /// The budget cannot be met; the message gives the best that was possible.
    TargetUnreachable,
    /// The pruned model does not compute what its masked original computes.
    CertificateFailed,
    /// Something in the graph is beyond what this job can do; the message names node and reason.
    Unsupported,
    /// Training produced NaN or infinity.
    Diverged,
    /// No room on the disk or in the object store.
    StorageFull,
    /// Memory ran out, in whichever way it showed.
    OutOfMemory,
    /// The attempt's process died of a signal in native code (SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE).
    RuntimeCrash,
    /// The attempt was killed from outside, or its worker vanished.
    WorkerLost,
    /// Crash recoveries reached their cap.
    WorkerCrashed,
    /// The job used up its running time.
    DeadlineExceeded,
    /// A user cancelled the job.
    Cancelled,
    /// ONNX Runtime is missing or cannot be loaded.
    EngineUnavailable,
    /// A defect of this software.
    Internal,
}

/// What the queue does with a job whose attempt ended in a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The job has failed; trying again would end the same.
    Fail,
    /// One more try, then the job has failed.
    RetryOnce,
    /// Go on from the last checkpoint; counted against the cap on crashes.
    Resume,
    /// The job is cancelled.
    Cancel,
}

impl FailureCode {
    /// The table of what each kind of death leads to (drawn in `docs/QUEUE.md`).
    #[must_use]
    pub fn disposition(self) -> Disposition {
        match self {
            Self::OutOfMemory | Self::RuntimeCrash => Disposition::RetryOnce,
            Self::WorkerLost => Disposition::Resume,
            Self::Cancelled => Disposition::Cancel,
            Self::InvalidModel
            | Self::ExternalData
            | Self::InvalidDataset
            | Self::InvalidSpec
            | Self::DatasetMismatch
            | Self::DatasetRequired
            | Self::TargetUnreachable
            | Self::CertificateFailed
            | Self::Unsupported
            | Self::Diverged
            | Self::StorageFull
            | Self::WorkerCrashed
            | Self::DeadlineExceeded
            | Self::EngineUnavailable
            | Self::Internal => Disposition::Fail,
        }
    }

    /// The code as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidModel => "invalid_model",
            Self::ExternalData => "external_data",
            Self::InvalidDataset => "invalid_dataset",
            Self::InvalidSpec => "invalid_spec",
            Self::DatasetMismatch => "dataset_mismatch",
            Self::DatasetRequired => "dataset_required",
            Self::TargetUnreachable => "target_unreachable",
            Self::CertificateFailed => "certificate_failed",
            Self::Unsupported => "unsupported",
            Self::Diverged => "diverged",
            Self::StorageFull => "storage_full",
            Self::OutOfMemory => "out_of_memory",
            Self::RuntimeCrash => "runtime_crash",
            Self::WorkerLost => "worker_lost",
            Self::WorkerCrashed => "worker_crashed",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::EngineUnavailable => "engine_unavailable",
            Self::Internal => "internal",
        }
    }
}

/// A refusal or failure as clients see it: stored in a job's `error`, written by an attempt as its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Failure {
    /// Stable reason.
    pub code: FailureCode,
    /// One or two sentences that say what is wrong and what the user can do.
    pub message: String,
    /// Where in the input: a node, tensor, archive entry, or JSON pointer into the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Failure {
    /// A failure whose place is not known or does not apply.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None }
    }

    /// The same failure with the place in the input.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }
}
