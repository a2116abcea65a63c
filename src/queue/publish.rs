//! Publishing: what the end of a job makes visible becomes visible in one transaction, once, or not at all.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Lease;
use super::ending::{Held, Results, Until, lock, write};
use super::error::QueueError;
use super::text::clean;
use super::transition::{Ending, Next, next};
use crate::spec::report::Certificate;
use crate::spec::summary::ModelSummary;
use crate::store::blob::BlobRef;
use crate::store::model::{self, Lineage, NewModel};

/// What the end of a job makes visible. Every blob was stored within the collector's grace period.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The model that the last step made; those of earlier steps were published as they ended.
    pub model: Option<StepModel>,
    /// Those earlier steps: without the model of each of them nothing is published.
    pub earlier: Vec<u32>,
    pub report: BlobRef,
    pub plan: Option<BlobRef>,
}

/// A model that a step made.
#[derive(Clone, Debug)]
pub struct StepModel {
    /// 0-based.
    pub step: u32,
    pub name: String,
    pub blob: BlobRef,
    pub summary: ModelSummary,
    pub certificate: Option<Certificate>,
}

/// What publishing led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The job has succeeded; the id of its output, where a step made a model.
    Published(Option<Uuid>),
    /// A user's cancel came first: the job is cancelled, nothing was published.
    Cancelled,
}

/// Publishes the results and ends the job.
///
/// Errors: `LeaseLost`, `StepMissing`, `BlobMissing` (store it again and repeat); nothing was published.
pub async fn publish(
    conn: &mut PgConnection,
    lease: &Lease,
    publication: &Publication,
) -> Result<PublishOutcome, QueueError> {
    let mut tx = conn.begin().await?;
    let held = lock(&mut tx, lease, Until::Now).await?;
    let next = next(held.standing, Ending::Succeeded);
    if next != Next::Succeeded {
        write(&mut tx, lease, &held, &next, &Results::default()).await?;
        tx.commit().await?;
        return Ok(PublishOutcome::Cancelled);
    }
    check_earlier(&mut tx, lease, &publication.earlier).await?;
    let output_model_id = match &publication.model {
        Some(made) => Some(insert(&mut tx, lease, &held, made).await?),
        None => model::latest_of(&mut tx, lease.tenant, lease.job_id).await?,
    };
    let results = Results { report: Some(&publication.report), plan: publication.plan.as_ref(), output_model_id };
    write(&mut tx, lease, &held, &next, &results).await?;
    tx.commit().await?;
    Ok(PublishOutcome::Published(output_model_id))
}

/// Holds the job to what its earlier steps made. Until the job has ended nobody can delete those models, so one that is
/// not there was never published: the end of its step got lost, and with it what the user would be told is done.
async fn check_earlier(conn: &mut PgConnection, lease: &Lease, earlier: &[u32]) -> Result<(), QueueError> {
    let kept = model::made_by(conn, lease.tenant, &[lease.job_id]).await?;
    match earlier.iter().find(|step| !kept.iter().any(|(_, made_by, _)| made_by == *step)) {
        Some(step) => Err(QueueError::StepMissing { job_id: lease.job_id, step: *step }),
        None => Ok(()),
    }
}

/// Inserts a model that a step made; its parent is the one that the step before made, the first one's the job's model.
pub(super) async fn insert(
    conn: &mut PgConnection,
    lease: &Lease,
    held: &Held,
    made: &StepModel,
) -> Result<Uuid, QueueError> {
    let parent_id = model::latest_of(conn, lease.tenant, lease.job_id).await?.unwrap_or(held.model_id);
    let new = NewModel {
        id: Uuid::now_v7(),
        name: clean(&made.name),
        blob: made.blob.clone(),
        summary: made.summary.clone(),
        lineage: Some(Lineage { parent_id, job_id: lease.job_id, step: made.step }),
        certificate: made.certificate.clone(),
    };
    model::insert(conn, lease.tenant, &new).await?;
    Ok(new.id)
}
