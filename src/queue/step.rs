//! The end of a step: its model, its event and the checkpoint that knows it is done become visible in one transaction.
//!
//! So a step ends once: a later attempt either goes on behind it, or finds that nothing of it was kept.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::checkpoint::{CheckpointFile, replace};
use super::claim::Lease;
use super::ending::{Until, lock};
use super::error::QueueError;
use super::progress::append_event;
use super::publish::{StepModel, insert};
use crate::spec::attempt::JobEvent;

/// A step that is done. Every blob was stored within the collector's grace period.
#[derive(Clone, Debug)]
pub struct FinishedStep {
    /// 0-based.
    pub step: u32,
    /// The model that it made, to be published now; the last step's is published with the report.
    pub model: Option<StepModel>,
    /// Goes into the history, with the model's id in its data. Its kind and the `step` in its data mark the end.
    pub event: JobEvent,
    /// The checkpoint that later attempts go on from, behind this step.
    pub checkpoint: Vec<CheckpointFile>,
}

/// What the end of a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It is written; what was published stays, however the job ends.
    Kept,
    /// It was written before: nothing has changed.
    KeptBefore,
    /// A user's cancel came first; nothing was written.
    Cancelled,
}

/// Ends a step. Repeating it changes nothing.
///
/// Errors: `LeaseLost`, `BlobMissing` (store it again and repeat); nothing was written.
pub async fn finish_step(
    conn: &mut PgConnection,
    lease: &Lease,
    finished: &FinishedStep,
) -> Result<StepOutcome, QueueError> {
    let mut tx = conn.begin().await?;
    let held = lock(&mut tx, lease, Until::Now).await?;
    if held.standing.cancel_requested {
        return Ok(StepOutcome::Cancelled);
    }
    // The answer to a commit can be lost with its connection, and the worker tries again.
    let kept = sqlx::query_scalar!(
        r#"select exists (
               select from job_events
               where tenant_id = $1 and job_id = $2 and kind = $3 and data -> 'step' = to_jsonb($4::integer)
           ) as "kept!""#,
        lease.tenant.0,
        lease.job_id,
        finished.event.kind,
        finished.step as i32,
    )
    .fetch_one(&mut *tx)
    .await?;
    if kept {
        return Ok(StepOutcome::KeptBefore);
    }
    let mut event = finished.event.clone();
    if let Some(made) = &finished.model {
        let id = insert(&mut tx, lease, &held, made).await?;
        // The next step works on it: it cannot be deleted before the job has ended.
        sqlx::query!(
            "insert into job_inputs (tenant_id, job_id, model_id) values ($1, $2, $3)",
            lease.tenant.0,
            lease.job_id,
            id,
        )
        .execute(&mut *tx)
        .await?;
        if let Some(data) = event.data.as_object_mut() {
            data.insert("model_id".into(), json!(id));
        }
    }
    replace(&mut tx, lease, &finished.checkpoint).await?;
    append_event(&mut tx, lease, &event).await?;
    tx.commit().await?;
    Ok(StepOutcome::Kept)
}
