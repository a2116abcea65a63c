//! Claims jobs, keeps their leases alive, starts and supervises attempts, publishes their results.
//!
//! A process has one [`Worker`] with a number of slots; each slot runs one job at a time: [`slot`] claims,
//! [`inputs`] prepares, [`relay`] follows the attempt, [`outputs`] stores, [`record`] writes. Beside the slots:
//!
//! - [`lease`]: one thread of its own, with its own runtime and its own connection, renews every lease that is held and
//!   kills the attempt of one that is lost, or whose cancellation was asked for;
//! - [`wake`]: listens for new jobs and cancellations, with polling behind it;
//! - [`upkeep`]: leases that expired, predecessors that died, old jobs, unreferenced blobs.
//!
//! PostgreSQL is authoritative: every write of an attempt carries its fencing token, and a write that changes nothing
//! means that the job is somebody else's by now. Knows nothing of HTTP and nothing of what a job computes.

mod failure;
mod inputs;
mod job;
mod lease;
mod outputs;
mod record;
mod relay;
mod slot;
mod upkeep;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::lease::LeaseKeeper;
use crate::attempt::launcher::Launcher;
use crate::spec::attempt::{DatasetLimits, ModelLimits};
use crate::store::database::Database;
use crate::store::object::Objects;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Jobs that run at the same time.
    pub slots: u16,
    /// Threads for the numeric work of one job.
    pub threads: u32,
    /// Memory of one job.
    pub memory_bytes: u64,
    /// Largest file that a job may write.
    pub file_bytes: u64,
    /// Files that a job may have open.
    pub open_files: u64,
    /// How long a job stays with a worker that is not heard of.
    pub lease: Duration,
    /// How often jobs and cancellations are looked for, should a notification be lost.
    pub poll: Duration,
    /// Longest time between two checkpoints of a training loop.
    pub checkpoint_interval: Duration,
    /// Age at which finished jobs are deleted.
    pub retention: Duration,
    /// Age at which a blob that nothing refers to is deleted.
    pub collector_grace: Duration,
    pub model_limits: ModelLimits,
    pub dataset_limits: DatasetLimits,
}

/// What the parts of a worker share.
#[derive(Debug)]
struct Shared {
    database: Database,
    objects: Objects,
    launcher: Launcher,
    settings: WorkerSettings,
    leases: LeaseKeeper,
    /// Wakes slots that wait for a job.
    work: Arc<Notify>,
    shutdown: CancellationToken,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    slots: JoinSet<()>,
    helpers: JoinSet<()>,
    stop_helpers: CancellationToken,
}

impl Worker {
    /// Takes over from dead predecessors on this machine and begins to claim, until `shutdown`.
    ///
    /// Errors: the database does not answer, or the operating system gives no thread.
    pub async fn start(
        database: Database,
        objects: Objects,
        launcher: Launcher,
        settings: WorkerSettings,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let leases =
            LeaseKeeper::start(database.clone(), settings.lease, settings.poll).context("starting the lease keeper")?;
        let shared =
            Arc::new(Shared { database, objects, launcher, settings, leases, work: Arc::new(Notify::new()), shutdown });
        upkeep::take_over(&shared).await.context("taking over from a predecessor")?;

        let stop_helpers = CancellationToken::new();
        let mut helpers = JoinSet::new();
        helpers.spawn(wake::run(Arc::clone(&shared), stop_helpers.clone()));
        helpers.spawn(upkeep::run(Arc::clone(&shared), stop_helpers.clone()));
        let mut slots = JoinSet::new();
        for _ in 0..shared.settings.slots {
            slots.spawn(slot::run(Arc::clone(&shared)));
        }
        let worker_id = shared.launcher.scratch().owner();
        let slots_in_words = match shared.settings.slots {
            1 => "1 slot".to_owned(),
            several => format!("{several} slots"),
        };
        info!(worker.id = %worker_id, "Worker with {slots_in_words} has started");
        Ok(Self { slots, helpers, stop_helpers })
    }

    /// Waits, after the shutdown, until every slot has given its job back or ended it.
    pub async fn drained(mut self) {
        while self.slots.join_next().await.is_some() {}
        self.stop_helpers.cancel();
        while self.helpers.join_next().await.is_some() {}
        info!("Worker has drained");
    }
}
