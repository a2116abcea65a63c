//! A user's cancel.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::ending::let_go;
use super::error::QueueError;
use crate::store::error::{Resource, StoreError};
use crate::store::tenant::TenantId;

/// What a cancel led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The job was waiting and is cancelled.
    Cancelled,
    /// The job is running; its worker has been told, now or by an earlier call.
    Cancelling,
    /// The job has ended already, in whatever way; nothing was changed.
    AlreadyFinished,
}

/// Cancels a job: one that waits at once, one that runs by telling its worker. Calling it again changes nothing.
///
/// Errors: `NotFound`.
pub async fn cancel(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<CancelOutcome, QueueError> {
    let mut tx = conn.begin().await?;
    let status =
        sqlx::query_scalar!("select status from jobs where tenant_id = $1 and id = $2 for update", tenant.0, id)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NotFound { what: Resource::Job, id })?;
    let outcome = match status.as_str() {
        "queued" => {
            change(&mut tx, tenant, id, "cancelled", "The job was cancelled.").await?;
            let_go(&mut tx, tenant, id).await?;
            CancelOutcome::Cancelled
        }
        "running" => {
            change(&mut tx, tenant, id, "cancelling", "A user has asked to cancel the job.").await?;
            CancelOutcome::Cancelling
        }
        "cancelling" => CancelOutcome::Cancelling,
        _ => CancelOutcome::AlreadyFinished,
    };
    tx.commit().await?;
    Ok(outcome)
}

/// Sets the status, which also names the event.
async fn change(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
    status: &str,
    message: &str,
) -> Result<(), QueueError> {
    sqlx::query!(
        "with job as (
             update jobs
             set status = $3, cancel_requested_at = clock_timestamp(), last_event_seq = last_event_seq + 1,
                 finished_at = case when $3 = 'cancelled' then clock_timestamp() end
             where tenant_id = $1 and id = $2
             returning tenant_id, id, last_event_seq, attempt
         )
         insert into job_events (tenant_id, job_id, seq, attempt, kind, message, data)
         select tenant_id, id, last_event_seq, attempt, $3, $4, 'null' from job",
        tenant.0,
        id,
        status,
        message,
    )
    .execute(conn)
    .await?;
    Ok(())
}
