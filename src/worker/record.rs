//! Writes of an attempt to the database: each fenced, each tried again while the database is away and the lease lasts.

use std::time::Duration;

use anyhow::anyhow;
use sqlx::PgConnection;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Shared;
use super::lease::{KeptLease, Standing};
use crate::queue::{
    self, CheckpointFile, FinishedStep, Lease, Publication, PublishOutcome, QueueError, append_event, finish_step,
    save_checkpoint, set_progress, set_stage,
};
use crate::spec::attempt::JobEvent;
use crate::spec::failure::Failure;
use crate::spec::job::Stage;
use crate::store::error::StoreError;

/// Pause before a write is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Something to be written for a job that is held.
///
/// Where the database's disk is full, a write is refused and the job fails with the reason; that failure itself is
/// written with patience.
#[derive(Debug)]
pub(super) enum Write<'a> {
    Stage { stage: Stage, step: usize },
    Progress { fraction: f64 },
    Event(&'a JobEvent),
    Checkpoint(&'a [CheckpointFile]),
    Step(&'a FinishedStep),
    Publish(&'a Publication),
    Fail(&'a Failure),
    Release,
    Cancelled,
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The job is not ours any more; there is nothing left to do.
    #[error("the job is not held any more")]
    Lost,
    /// The database does not take it, and will not another time.
    #[error(transparent)]
    Refused(anyhow::Error),
}

impl Write<'_> {
    /// Writes, with patience.
    ///
    /// Repeating is safe: a write that ended the job makes its repetition find the lease over, and a step ends once.
    pub(super) async fn record(&self, shared: &Shared, lease: &Lease, kept: &KeptLease) -> Result<(), WriteError> {
        loop {
            let result = match shared.database.pool().acquire().await {
                Ok(mut connection) => self.apply(&mut connection, lease).await,
                Err(error) => Err(error.into()),
            };
            match result {
                Ok(()) => return Ok(()),
                Err(QueueError::LeaseLost { .. }) => return Err(WriteError::Lost),
                Err(error) if !self.may_go_through(&error) => return Err(WriteError::Refused(anyhow!(error))),
                Err(error) => {
                    warn!(job.id = %lease.job_id, "The database does not take a write, trying again: {error}");
                }
            }
            if kept.standing() == Standing::Lost {
                return Err(WriteError::Lost);
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether the same write may go through another time.
    fn may_go_through(&self, error: &QueueError) -> bool {
        let QueueError::Store(StoreError::Database(error)) = error else { return false };
        if StoreError::is_disk_full(error) { matches!(self, Self::Fail(_)) } else { is_transient(error) }
    }

    async fn apply(&self, conn: &mut PgConnection, lease: &Lease) -> Result<(), QueueError> {
        let job = lease.job_id;
        match self {
            Self::Stage { stage, step } => set_stage(conn, lease, *stage, *step).await,
            Self::Progress { fraction } => set_progress(conn, lease, *fraction).await,
            Self::Event(event) => append_event(conn, lease, event).await,
            Self::Checkpoint(files) => save_checkpoint(conn, lease, files).await,
            Self::Step(finished) => {
                let outcome = finish_step(conn, lease, finished).await?;
                info!(job.id = %job, job.step = finished.step, step.outcome = ?outcome, "A step is done");
                Ok(())
            }
            Self::Publish(publication) => {
                match queue::publish(conn, lease, publication).await? {
                    PublishOutcome::Published(output) => {
                        info!(job.id = %job, model.id = ?output, "Job succeeded");
                    }
                    PublishOutcome::Cancelled => {
                        info!(job.id = %job, "Job was cancelled before its results were published");
                    }
                }
                Ok(())
            }
            Self::Fail(failure) => {
                let next = queue::fail(conn, lease, failure).await?;
                info!(job.id = %job, job.next = ?next, "Attempt failed: {failure}");
                Ok(())
            }
            Self::Release => {
                queue::release(conn, lease).await?;
                info!(job.id = %job, "Job was given back, to go on from its last checkpoint");
                Ok(())
            }
            Self::Cancelled => {
                queue::finish_cancelled(conn, lease).await?;
                info!(job.id = %job, "Job was cancelled");
                Ok(())
            }
        }
    }
}

/// Whether the connection failed, or the server is starting, stopping, or out of something for the moment.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // SQLSTATE classes: connection, transaction rollback (deadlock), insufficient resources, operator intervention.
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::spec::failure::FailureCode;
    use crate::store::error::SqlState;

    #[test]
    fn a_lost_connection_is_waited_out_and_a_refusal_is_not() {
        let write = Write::Release;
        assert!(write.may_go_through(&sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()).into()));
        assert!(write.may_go_through(&sqlx::Error::PoolTimedOut.into()));
        assert!(!write.may_go_through(&sqlx::Error::RowNotFound.into()));
        assert!(!write.may_go_through(&StoreError::BlobMissing { sha256: String::new() }.into()));
    }

    // It counted as out of something for the moment: the write was repeated until the lease ran out.
    #[test]
    fn a_full_disk_of_the_database_refuses_all_but_the_failure_that_tells_of_it() {
        let full = || QueueError::from(SqlState::error("53100"));
        let failure = Failure::new(FailureCode::StorageFull, "full");
        assert!(!Write::Release.may_go_through(&full()));
        assert!(Write::Fail(&failure).may_go_through(&full()));
        for other in ["53200", "53300", "57P03", "40P01"] {
            assert!(Write::Release.may_go_through(&SqlState::error(other).into()), "{other}");
        }
    }
}
