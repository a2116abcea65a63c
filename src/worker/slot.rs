//! A slot: claims a job, runs it, claims the next.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{Shared, job};
use crate::queue::{Claim, claim};

/// Runs until the shutdown; a job that runs then is drained first.
pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.shutdown.is_cancelled() {
        // Armed before the query: a job that comes in between is not slept through.
        let woken = Arc::clone(&shared.work).notified_owned();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let sent_at = Instant::now();
        match next(&shared).await {
            Ok(Some(claim)) => job::run(&shared, claim, sent_at).await,
            Ok(None) => {
                tokio::select! {
                    () = woken => {}
                    () = sleep(shared.settings.poll) => {}
                    () = shared.shutdown.cancelled() => {}
                }
            }
            Err(error) => {
                warn!("No job can be claimed: {error:#}");
                tokio::select! {
                    () = sleep(shared.settings.poll) => {}
                    () = shared.shutdown.cancelled() => {}
                }
            }
        }
    }
}

async fn next(shared: &Shared) -> anyhow::Result<Option<Claim>> {
    let mut connection = shared.database.pool().acquire().await?;
    let worker_id = shared.launcher.scratch().owner();
    Ok(claim(&mut connection, worker_id, shared.settings.lease).await?)
}
