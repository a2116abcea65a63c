//! Tells waiting requests that a job has changed: one listener of the database for the whole process. A notification
//! may be lost; whoever waits looks for itself once in a while.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::queue::{Signal, Signals};
use crate::store::database::Database;
use crate::store::error::StoreError;

/// Notifications that a slow reader may lag behind before it looks at its job anew.
const CAPACITY: usize = 1024;

/// The source of changes; cheap to clone.
#[derive(Clone, Debug)]
pub struct JobChanges {
    sender: broadcast::Sender<Signal>,
    poll_interval: Duration,
    shutdown: CancellationToken,
}

/// One reader's view of the changes of one job.
#[derive(Debug)]
pub struct JobWatch {
    job_id: Uuid,
    receiver: broadcast::Receiver<Signal>,
    poll_interval: Duration,
    shutdown: CancellationToken,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The job may have changed: look.
    Look,
    /// The time is up.
    TimeIsUp,
    /// The service is about to stop.
    Shutdown,
}

impl JobChanges {
    /// Begins to listen, until `shutdown`.
    pub fn listen(database: Database, poll_interval: Duration, shutdown: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(CAPACITY);
        let changes = Self { sender: sender.clone(), poll_interval, shutdown: shutdown.clone() };
        tokio::spawn(async move {
            shutdown.run_until_cancelled(pass_on(database, sender, poll_interval)).await;
        });
        changes
    }

    /// Watches one job. What happens from now on is seen, so watch first and read the job then.
    pub fn watch(&self, job_id: Uuid) -> JobWatch {
        JobWatch {
            job_id,
            receiver: self.sender.subscribe(),
            poll_interval: self.poll_interval,
            shutdown: self.shutdown.clone(),
        }
    }
}

impl JobWatch {
    /// Waits until the job may have changed, `until` at most.
    pub async fn changed(&mut self, until: Instant) -> Woken {
        let shutdown = self.shutdown.clone();
        let look = Instant::now() + self.poll_interval;
        tokio::select! {
            () = shutdown.cancelled() => Woken::Shutdown,
            () = tokio::time::sleep_until(until) => Woken::TimeIsUp,
            () = tokio::time::sleep_until(look) => Woken::Look,
            () = self.told() => Woken::Look,
        }
    }

    async fn told(&mut self) {
        loop {
            match self.receiver.recv().await {
                Ok(Signal::Job(job_id)) if job_id != self.job_id => {}
                // What was missed while lagging or away may have been about this job.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Passes signals on; where the connection cannot be had, tries again while the waiting ones poll.
async fn pass_on(database: Database, sender: broadcast::Sender<Signal>, pause: Duration) {
    loop {
        let lost = pass_on_while_connected(&database, &sender).await;
        tracing::warn!(error = %lost, "Cannot listen for changes of jobs: requests poll meanwhile");
        tokio::time::sleep(pause).await;
    }
}

async fn pass_on_while_connected(database: &Database, sender: &broadcast::Sender<Signal>) -> StoreError {
    let mut signals = match Signals::for_api(database).await {
        Ok(signals) => signals,
        Err(error) => return error,
    };
    loop {
        match signals.next().await {
            // An error of `send` says that nobody is waiting.
            Ok(signal) => drop(sender.send(signal)),
            Err(error) => return error,
        }
    }
}
