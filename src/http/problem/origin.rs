//! What the layers below refuse or fail with, as problems.

use super::{Problem, ProblemCode};
use crate::queue::QueueError;
use crate::spec::failure::{Failure, FailureCode};
use crate::store::error::StoreError;

/// An upload that the inspecting child refused, or died of.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            FailureCode::InvalidModel => ProblemCode::InvalidModel,
            FailureCode::ExternalData => ProblemCode::ExternalData,
            FailureCode::InvalidDataset => ProblemCode::InvalidDataset,
            FailureCode::InvalidSpec => ProblemCode::InvalidSpec,
            FailureCode::DatasetMismatch => ProblemCode::DatasetMismatch,
            FailureCode::DatasetRequired => ProblemCode::DatasetRequired,
            FailureCode::Unsupported => ProblemCode::Unsupported,
            FailureCode::StorageFull => ProblemCode::StorageFull,
            FailureCode::OutOfMemory | FailureCode::RuntimeCrash | FailureCode::DeadlineExceeded => {
                ProblemCode::InspectionFailed
            }
            FailureCode::WorkerLost | FailureCode::Cancelled => ProblemCode::Unavailable,
            FailureCode::TargetUnreachable
            | FailureCode::CertificateFailed
            | FailureCode::Diverged
            | FailureCode::WorkerCrashed
            | FailureCode::EngineUnavailable
            | FailureCode::Internal => return Self::internal(failure),
        };
        let place = failure.place.clone();
        let detail = failure.message.clone();
        Self::new(code, detail).at(place).caused_by(failure)
    }
}

/// What the store says, told apart by whose fault it is: the client's, the moment's, or ours.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, id } => Self::new(ProblemCode::NotFound, format!("There is no {what} {id}.")),
            StoreError::InUse { what, id } => Self::new(
                ProblemCode::InUse,
                format!("An unfinished job uses the {what} {id}; cancel the job or wait for its end."),
            ),
            StoreError::StorageFull { .. } => {
                Self::new(ProblemCode::StorageFull, "There is no room left for this; nothing was stored.")
                    .caused_by(error)
            }
            StoreError::KeyTakenOver => Self::new(
                ProblemCode::IdempotencyKeyInFlight,
                "The request took so long that a repetition of it was begun; that one will be answered.",
            ),
            StoreError::Database(error) => error.into(),
            StoreError::Object(_) | StoreError::NotMigrated { .. } => {
                Self::new(ProblemCode::Unavailable, "Try again.").caused_by(error).retry_after(5)
            }
            StoreError::BlobMissing { .. }
            | StoreError::ObjectMissing { .. }
            | StoreError::FileChanged { .. }
            | StoreError::ServerTooOld { .. }
            | StoreError::Io { .. }
            | StoreError::Migrate(_)
            | StoreError::Json(_) => Self::internal(error),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Store(error) => error.into(),
            QueueError::InputMissing { .. } => Self::new(ProblemCode::ReferenceNotFound, format!("{error}.")),
            QueueError::LeaseLost { .. } | QueueError::StepMissing { .. } => Self::internal(error),
        }
    }
}

/// A database that is away or busy is a matter of time, and one whose disk is full is told as such; everything else that it says is a defect of ours.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if StoreError::is_disk_full(&error) {
            return Self::new(ProblemCode::StorageFull, "There is no room left for this; nothing was stored.")
                .caused_by(error);
        }
        let away = match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            // Classes 57 (shutdown, crash) and 53 (no connections or memory left).
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| code.starts_with("57") || code.starts_with("53"))
            }
            _ => false,
        };
        if away {
            Self::new(ProblemCode::Unavailable, "Try again.").caused_by(error).retry_after(5)
        } else {
            Self::internal(error)
        }
    }
}
