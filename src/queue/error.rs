//! Why the queue could not do what it was asked.

use uuid::Uuid;

use crate::store::error::{Resource, StoreError};

/// An error of the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The job was taken away from this attempt: its lease ran out and somebody rescued it, or it has ended. Nothing was
    /// written; the attempt must stop.
    #[error("job {job_id} is no longer held by token {token}")]
    LeaseLost { job_id: Uuid, token: i64 },
    /// A model or dataset that the job names is not there.
    #[error("there is no {what} {id}")]
    InputMissing { what: Resource, id: Uuid },
    /// A step that is done made a model, and its end was never kept. Nothing was published.
    #[error("the model of step {} of job {job_id} was never handed over", .step + 1)]
    StepMissing { job_id: Uuid, step: u32 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
