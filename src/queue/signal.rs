//! LISTEN: being woken. A signal says that something may have changed and nothing more; who waits for one also looks by
//! itself from time to time, since a signal can be lost with its connection.

use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::store::database::Database;
use crate::store::error::StoreError;

const QUEUE: &str = "secateur_queue";
const CANCEL: &str = "secateur_cancel";
const JOB: &str = "secateur_job";

/// What woke the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A job may be due.
    Work,
    /// A running job is to be cancelled.
    Cancel(Uuid),
    /// Status, stage, progress or events of a job have changed.
    Job(Uuid),
    /// The connection was lost and is there again: anything may have happened meanwhile.
    Reconnected,
}

/// Signals as they come, on a connection of their own.
#[derive(Debug)]
pub struct Signals(PgListener);

impl Signals {
    /// What a worker waits for: work and cancels.
    pub async fn for_worker(database: &Database) -> Result<Self, StoreError> {
        Self::listen(database, &[QUEUE, CANCEL]).await
    }

    /// What the API waits for: changes of jobs.
    pub async fn for_api(database: &Database) -> Result<Self, StoreError> {
        Self::listen(database, &[JOB]).await
    }

    async fn listen(database: &Database, channels: &[&str]) -> Result<Self, StoreError> {
        let mut listener = database.listener().await?;
        listener.listen_all(channels.iter().copied()).await?;
        Ok(Self(listener))
    }

    /// Waits for the next signal. Cancel safe.
    ///
    /// Errors: `Database` where the connection is lost and cannot be made again; wait a little and call again.
    pub async fn next(&mut self) -> Result<Signal, StoreError> {
        loop {
            let Some(notification) = self.0.try_recv().await? else { return Ok(Signal::Reconnected) };
            let id = || Uuid::try_parse(notification.payload()).ok();
            let signal = match notification.channel() {
                QUEUE => Some(Signal::Work),
                CANCEL => id().map(Signal::Cancel),
                JOB => id().map(Signal::Job),
                _ => None,
            };
            if let Some(signal) = signal {
                return Ok(signal);
            }
        }
    }
}
