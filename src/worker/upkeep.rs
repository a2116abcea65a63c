//! What has to be done from time to time, by any worker: attempts whose worker is gone, files of processes that died,
//! finished jobs that are old, blobs that nothing refers to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Shared;
use crate::queue::{Rescued, rescue, rescue_from};
use crate::store::{collector, retention};

/// How far a job may be over its running time before another worker ends it: its own kills it at once.
const OVERDUE: Duration = Duration::from_mins(5);

/// Longest time between two looks for lost attempts.
const RESCUE_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two rounds of the broom: a training loop makes garbage as often as it keeps a checkpoint.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// Rows and blobs that one round removes; the rest waits for the next, so that no transaction is long.
const SWEEP_BATCH: u32 = 1_000;

/// Runs until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let pause = RESCUE_INTERVAL.min(shared.settings.lease / 4).max(Duration::from_millis(100));
    let upkeep = async {
        let mut sweep_at = Instant::now();
        loop {
            if let Err(error) = look_for_lost(&shared).await {
                warn!("Cannot look for lost attempts: {error:#}");
            }
            if Instant::now() >= sweep_at {
                if let Err(error) = sweep(&shared).await {
                    error!("Cannot clean up: {error:#}");
                }
                sweep_at = Instant::now() + SWEEP_INTERVAL;
            }
            sleep(pause).await;
        }
    };
    stop.run_until_cancelled(upkeep).await;
}

async fn look_for_lost(shared: &Shared) -> Result<()> {
    take_over(shared).await?;
    let mut connection = shared.database.pool().acquire().await?;
    tell(shared, &rescue(&mut connection, OVERDUE).await?);
    Ok(())
}

/// Takes the jobs of processes on this machine that died, without waiting for their leases, and removes what they left.
pub(super) async fn take_over(shared: &Shared) -> Result<()> {
    let scratch = shared.launcher.scratch();
    for dead in scratch.dead_owners()? {
        let mut connection = shared.database.pool().acquire().await?;
        tell(shared, &rescue_from(&mut connection, &[dead.id()]).await?);
        // Only after the jobs are safe: the directory is what names them.
        match scratch.remove_dead(&dead) {
            Ok(()) => info!(worker.id = %dead.id(), "Removed what a dead process left"),
            // A child that is just dying may still write there; the next look tries again.
            Err(error) => warn!(worker.id = %dead.id(), "Cannot remove what a dead process left: {error}"),
        }
    }
    Ok(())
}

fn tell(shared: &Shared, rescued: &[Rescued]) {
    for job in rescued {
        warn!(job.id = %job.lease.job_id, job.next = ?job.next, "An attempt lost its worker");
    }
    if !rescued.is_empty() {
        shared.work.notify_waiters();
    }
}

async fn sweep(shared: &Shared) -> Result<()> {
    let mut connection = shared.database.pool().acquire().await?;
    let jobs = retention::delete_finished_jobs(&mut connection, shared.settings.retention, SWEEP_BATCH).await?;
    retention::delete_expired_keys(&mut connection).await?;
    drop(connection);
    let collected =
        collector::collect(&shared.database, &shared.objects, shared.settings.collector_grace, SWEEP_BATCH).await?;
    let uploads = shared.objects.sweep_spool().await?;
    if jobs + collected.blobs + uploads > 0 {
        info!(
            "Removed {jobs} old jobs, {} unreferenced blobs ({} bytes) and {uploads} abandoned uploads",
            collected.blobs, collected.bytes
        );
    }
    Ok(())
}
