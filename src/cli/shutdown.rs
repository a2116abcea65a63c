//! SIGTERM and Ctrl-C: the first asks for an orderly end, the second ends at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a shell expects of a process that a signal ended.
const ENDED_BY_SIGNAL: i32 = 130;

/// A token that is cancelled by the first signal.
pub(super) fn on_signals() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("Shutting down: running jobs leave a checkpoint and go on at the next start");
        cancelled.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        warn!("Told twice to end: ending at once; the next start recovers");
        std::process::exit(ENDED_BY_SIGNAL);
    });
    Ok(token)
}
