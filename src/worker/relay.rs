//! Follows a running attempt: what it tells goes to the database, orders go to it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::lease::KeptLease;
use super::outputs::{Naming, store_checkpoint, store_step};
use super::record::{Write, WriteError};
use crate::attempt::death::Ending;
use crate::attempt::launcher::{Attempt, News};
use crate::queue::Lease;
use crate::spec::attempt::{AttemptMessage, StepEnd};

/// Shortest time between two writes of progress: who polls sees no difference, the database does.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// An attempt under way.
pub(super) struct Relay<'a> {
    pub(super) shared: &'a Shared,
    pub(super) lease: &'a Lease,
    pub(super) kept: &'a KeptLease,
    pub(super) scratch: &'a Path,
    pub(super) naming: Naming<'a>,
}

impl Relay<'_> {
    /// Follows the attempt to its end, and ends it where it has to be: drained at the shutdown; killed where the job is
    /// cancelled or lost, or where what it tells cannot be kept.
    ///
    /// Errors: something that it told cannot be kept. The process has ended in every case.
    pub(super) async fn follow(&self, mut attempt: Attempt) -> Result<Ending> {
        let control = attempt.control();
        let relayed = tokio::select! {
            relayed = self.relay(&mut attempt) => Some(relayed),
            _ = self.kept.ended() => None,
            () = async {
                self.shared.shutdown.cancelled().await;
                control.terminate();
                std::future::pending::<()>().await;
            } => None,
        };
        if let Some(Ok(ending)) = relayed {
            return Ok(ending);
        }
        control.kill();
        let ending = loop {
            if let News::Ended(ending) = attempt.next().await {
                break ending;
            }
        };
        match relayed {
            Some(Err(WriteError::Refused(error))) => Err(error),
            Some(Err(WriteError::Lost) | Ok(_)) | None => Ok(ending),
        }
    }

    async fn relay(&self, attempt: &mut Attempt) -> Result<Ending, WriteError> {
        let mut progress: Option<f64> = None;
        let mut flush_at = Instant::now();
        loop {
            let news = tokio::select! {
                news = attempt.next() => news,
                () = sleep_until(flush_at), if progress.is_some() => {
                    if let Some(fraction) = progress.take() {
                        self.record(&Write::Progress { fraction }).await?;
                        flush_at = Instant::now() + PROGRESS_INTERVAL;
                    }
                    continue;
                }
            };
            match news {
                News::Ended(ending) => return Ok(ending),
                News::Message(AttemptMessage::Progress { fraction }) => progress = Some(fraction),
                News::Message(AttemptMessage::Stage { stage, step }) => {
                    self.record(&Write::Stage { stage, step }).await?;
                }
                News::Message(AttemptMessage::Event { event }) => self.record(&Write::Event(&event)).await?,
                News::Message(AttemptMessage::Checkpoint { directory }) => self.keep_checkpoint(&directory).await?,
                News::Message(AttemptMessage::StepFinished(end)) => self.keep_step(&end).await?,
            }
        }
    }

    async fn keep_checkpoint(&self, directory: &str) -> Result<(), WriteError> {
        let stored = store_checkpoint(self.shared, self.scratch, directory).await;
        let files = stored.map_err(|error| WriteError::Refused(anyhow!(error)))?;
        self.record(&Write::Checkpoint(&files)).await?;
        self.drop_checkpoint(directory).await;
        Ok(())
    }

    async fn keep_step(&self, end: &StepEnd) -> Result<(), WriteError> {
        let stored = store_step(self.shared, self.scratch, end, self.naming).await;
        let finished = stored.map_err(|error| WriteError::Refused(anyhow!(error)))?;
        self.record(&Write::Step(&finished)).await?;
        self.drop_checkpoint(&end.directory).await;
        Ok(())
    }

    /// Removes a checkpoint that is in the object store; what cannot be removed goes with the scratch directory.
    async fn drop_checkpoint(&self, directory: &str) {
        let _ = tokio::fs::remove_dir_all(self.scratch.join("checkpoints").join(directory)).await;
    }

    async fn record(&self, write: &Write<'_>) -> Result<(), WriteError> {
        write.record(self.shared, self.lease, self.kept).await
    }
}
