//! One claimed job, from the claim to the write that ends its attempt.

use anyhow::{Context, Result};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Shared;
use super::failure::failure_of;
use super::inputs::{Prepared, prepare};
use super::lease::{KeptLease, Standing};
use super::outputs::{Naming, store_results};
use super::record::{Write, WriteError};
use super::relay::Relay;
use crate::attempt::death::Ending;
use crate::queue::{Claim, Publication};
use crate::spec::failure::Failure;

/// How an attempt ended, as far as the job is concerned.
#[derive(Debug)]
enum End {
    Publish(Box<Publication>),
    Fail(Failure),
    Release,
    Cancelled,
    /// The job is not ours any more: nothing is written.
    Lost,
}

/// Runs the job; all that goes wrong ends in the job's history or in the log.
///
/// `sent_at` is when the claim was sent: the lease is counted from there.
pub(super) async fn run(shared: &Shared, claim: Claim, sent_at: Instant) {
    let job = claim.lease.job_id;
    info!(job.id = %job, job.attempt = claim.attempt, "Claimed a job");
    let kept = shared.leases.keep(claim.lease, sent_at);
    let end = match attempt(shared, &claim, &kept).await {
        Ok(end) => end,
        Err(error) => {
            error!(job.id = %job, job.attempt = claim.attempt, "The worker could not do its part: {error:#}");
            End::Fail(failure_of(&error))
        }
    };
    let write = match &end {
        End::Publish(publication) => Write::Publish(publication),
        End::Fail(failure) => Write::Fail(failure),
        End::Release => Write::Release,
        End::Cancelled => Write::Cancelled,
        End::Lost => return,
    };
    match write.record(shared, &claim.lease, &kept).await {
        Ok(()) => {}
        Err(WriteError::Lost) => info!(job.id = %job, "The job is not ours any more; nothing was written"),
        Err(WriteError::Refused(error)) => {
            error!(job.id = %job, "The end of an attempt cannot be written: {error:#}");
            // The attempt has to end somehow: as one whose worker could not do its part.
            let failure = failure_of(&error);
            if let Err(error) = Write::Fail(&failure).record(shared, &claim.lease, &kept).await {
                warn!(job.id = %job, "Its lease will run out: {error:#}");
            }
        }
    }
}

async fn attempt(shared: &Shared, claim: &Claim, kept: &KeptLease) -> Result<End> {
    let spec = match claim.spec() {
        Ok(spec) => spec,
        Err(failure) => return Ok(End::Fail(failure)),
    };
    let scratch = shared.launcher.scratch();
    let scratch = scratch.attempt(claim.lease.job_id, claim.lease.token).context("making a scratch directory")?;
    let Prepared { job, model } =
        prepare(shared, claim, &spec, scratch.path()).await.context("preparing the inputs")?;
    let attempt = shared.launcher.start(scratch.path(), &job).await.context("starting an attempt")?;
    info!(job.id = %claim.lease.job_id, job.attempt = claim.attempt, process.id = attempt.process_id(), "Attempt has started");

    let naming = Naming { original: &model.name, chosen: claim.name.as_deref(), spec: &spec };
    let relay = Relay { shared, lease: &claim.lease, kept, scratch: scratch.path(), naming };
    Ok(match relay.follow(attempt).await? {
        Ending::Finished(finished) => {
            tokio::select! {
                publication = store_results(shared, scratch.path(), &finished, naming) => End::Publish(Box::new(publication?)),
                standing = kept.ended() => of_standing(standing),
            }
        }
        Ending::Failed(failure) => End::Fail(failure),
        Ending::Interrupted => End::Release,
        Ending::Killed => of_standing(kept.standing()),
        Ending::Inspected(_) => anyhow::bail!("the attempt inspected something instead of running its job"),
    })
}

fn of_standing(standing: Standing) -> End {
    match standing {
        Standing::Cancelled => End::Cancelled,
        // Killed though the job is held: only where the service is coming down. Whoever claims next goes on.
        Standing::Held => End::Release,
        Standing::Lost => End::Lost,
    }
}
