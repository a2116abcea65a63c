//! Listens for new jobs and cancellations. A signal only hurries what polling would find.

use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Shared;
use crate::queue::{Signal, Signals};
use crate::store::error::StoreError;

/// Runs until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let listening = async {
        loop {
            if let Err(error) = listen(&shared).await {
                warn!("Not listening for jobs, only polling: {error}");
            }
            sleep(shared.settings.poll).await;
        }
    };
    stop.run_until_cancelled(listening).await;
}

async fn listen(shared: &Shared) -> Result<(), StoreError> {
    let mut signals = Signals::for_worker(&shared.database).await?;
    loop {
        match signals.next().await? {
            Signal::Work => shared.work.notify_waiters(),
            Signal::Cancel(job_id) => shared.leases.look(Some(job_id)),
            Signal::Reconnected => {
                shared.work.notify_waiters();
                shared.leases.look(None);
            }
            Signal::Job(_) => {}
        }
    }
}
