//! What a running attempt tells of itself. Every write is fenced; an event gets its number under the lock of the job's
//! row, so none follows the one that ends the job.

use sqlx::PgConnection;

use super::claim::Lease;
use super::error::QueueError;
use super::text::{clean, to_json};
use crate::spec::attempt::JobEvent;
use crate::spec::job::Stage;

/// Stores the share that is done; values outside 0..=1 are taken as the nearest, NaN as 0.
///
/// Errors: `LeaseLost`.
pub async fn set_progress(conn: &mut PgConnection, lease: &Lease, fraction: f64) -> Result<(), QueueError> {
    let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
    let written = sqlx::query!(
        "update jobs set progress = $4
         where tenant_id = $1 and id = $2 and lease_token = $3 and status in ('running', 'cancelling')",
        lease.tenant.0,
        lease.job_id,
        lease.token,
        fraction,
    )
    .execute(conn)
    .await?;
    if written.rows_affected() == 0 { Err(lease.lost()) } else { Ok(()) }
}

/// Stores the stage and its step (0-based), and tells of it as event `stage`.
///
/// Errors: `LeaseLost`.
pub async fn set_stage(conn: &mut PgConnection, lease: &Lease, stage: Stage, step: usize) -> Result<(), QueueError> {
    // A unit variant becomes a JSON string, the same name that SQL stores.
    let stage = to_json(&stage)?;
    let written = sqlx::query!(
        "with job as (
             update jobs set stage = $4, step = $5, last_event_seq = last_event_seq + 1
             where tenant_id = $1 and id = $2 and lease_token = $3 and status in ('running', 'cancelling')
             returning tenant_id, id, last_event_seq, attempt
         )
         insert into job_events (tenant_id, job_id, seq, attempt, kind, message, data)
         select tenant_id, id, last_event_seq, attempt, 'stage', format('Step %s: %s.', $5::integer + 1, $4::text),
                jsonb_build_object('stage', $4::text, 'step', $5::integer)
         from job",
        lease.tenant.0,
        lease.job_id,
        lease.token,
        stage.as_str().unwrap_or_default(),
        i32::try_from(step).unwrap_or(i32::MAX - 1),
    )
    .execute(conn)
    .await?;
    if written.rows_affected() == 0 { Err(lease.lost()) } else { Ok(()) }
}

/// Appends to the job's history.
///
/// Errors: `LeaseLost`.
pub async fn append_event(conn: &mut PgConnection, lease: &Lease, event: &JobEvent) -> Result<(), QueueError> {
    let written = sqlx::query!(
        "with job as (
             update jobs set last_event_seq = last_event_seq + 1
             where tenant_id = $1 and id = $2 and lease_token = $3 and status in ('running', 'cancelling')
             returning tenant_id, id, last_event_seq, attempt
         )
         insert into job_events (tenant_id, job_id, seq, attempt, kind, message, data)
         select tenant_id, id, last_event_seq, attempt, $4, $5, $6 from job",
        lease.tenant.0,
        lease.job_id,
        lease.token,
        clean(&event.kind),
        clean(&event.message),
        to_json(&event.data)?,
    )
    .execute(conn)
    .await?;
    if written.rows_affected() == 0 { Err(lease.lost()) } else { Ok(()) }
}
