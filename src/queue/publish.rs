//! Publishing: everything that a job made becomes visible in one transaction, once, or not at all.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Lease;
use super::ending::{Results, Until, lock, write};
use super::error::QueueError;
use super::text::clean;
use super::transition::{Ending, Next, next};
use crate::spec::report::Certificate;
use crate::spec::summary::ModelSummary;
use crate::store::blob::BlobRef;
use crate::store::model::{self, Lineage, NewModel};

/// What a job made. Every blob was stored within the collector's grace period.
#[derive(Clone, Debug)]
pub struct Publication {
    /// In the order of their steps; the last is the job's output. Each one's parent is the one before it, the first
    /// one's the job's model.
    pub models: Vec<StepModel>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The job has succeeded; the ids of its models.
    Published(Vec<Uuid>),
    /// A user's cancel came first: the job is cancelled, nothing was published.
    Cancelled,
}

/// Publishes the results and ends the job.
///
/// Errors: `LeaseLost`, `BlobMissing` (store it again and repeat); nothing was published.
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
    let mut parent_id = held.model_id;
    let mut ids = Vec::with_capacity(publication.models.len());
    for made in &publication.models {
        let id = Uuid::now_v7();
        let new = NewModel {
            id,
            name: clean(&made.name),
            blob: made.blob.clone(),
            summary: made.summary.clone(),
            lineage: Some(Lineage { parent_id, job_id: lease.job_id, step: made.step }),
            certificate: made.certificate.clone(),
        };
        model::insert(&mut tx, lease.tenant, &new).await?;
        parent_id = id;
        ids.push(id);
    }
    let results = Results {
        report: Some(&publication.report),
        plan: publication.plan.as_ref(),
        output_model_id: ids.last().copied(),
    };
    write(&mut tx, lease, &held, &next, &results).await?;
    tx.commit().await?;
    Ok(PublishOutcome::Published(ids))
}
