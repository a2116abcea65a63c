//! The end of an attempt: one place that locks the job, asks the table of transitions, and writes what it says.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Lease;
use super::error::QueueError;
use super::text::{clean, to_json};
use super::transition::{Ending, Next, Requeue, Standing, Why, next};
use crate::spec::attempt::JobEvent;
use crate::spec::failure::Failure;
use crate::store::blob::{self, BlobRef};
use crate::store::tenant::TenantId;

/// Ends the attempt in a failure; says what becomes of the job.
///
/// Errors: `LeaseLost`.
pub async fn fail(conn: &mut PgConnection, lease: &Lease, failure: &Failure) -> Result<Next, QueueError> {
    end(conn, lease, Ending::Failed(failure.clone())).await
}

/// Gives the job back uncharged, to go on from its last checkpoint (or cancels it, where a user has asked for that).
///
/// Errors: `LeaseLost`.
pub async fn release(conn: &mut PgConnection, lease: &Lease) -> Result<Next, QueueError> {
    end(conn, lease, Ending::Released).await
}

/// Ends the attempt after a user's cancel.
///
/// Errors: `LeaseLost`.
pub async fn finish_cancelled(conn: &mut PgConnection, lease: &Lease) -> Result<Next, QueueError> {
    end(conn, lease, Ending::Cancelled).await
}

/// Ends an attempt that publishes nothing.
pub(super) async fn end(conn: &mut PgConnection, lease: &Lease, ending: Ending) -> Result<Next, QueueError> {
    let mut tx = conn.begin().await?;
    let held = lock(&mut tx, lease, if ending == Ending::Lost { Until::Heartbeat } else { Until::Now }).await?;
    let next = next(held.standing, ending);
    write(&mut tx, lease, &held, &next, &Results::default()).await?;
    tx.commit().await?;
    Ok(next)
}

/// Until when an attempt is taken to have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Now,
    /// Its last sign of life: the rest was waiting.
    Heartbeat,
}

/// A job whose row is locked by this transaction and held by the lease.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) standing: Standing,
    pub(super) model_id: Uuid,
    used_ms: i64,
}

/// What a job that succeeded leaves.
#[derive(Debug, Default)]
pub(super) struct Results<'a> {
    pub(super) report: Option<&'a BlobRef>,
    pub(super) plan: Option<&'a BlobRef>,
    pub(super) output_model_id: Option<Uuid>,
}

/// Locks the job's row, where the lease still holds it.
///
/// Errors: `LeaseLost`.
pub(super) async fn lock(conn: &mut PgConnection, lease: &Lease, until: Until) -> Result<Held, QueueError> {
    // clock_timestamp: the lock may have been waited for, and the caller's transaction may be older.
    let row = sqlx::query!(
        r#"select status = 'cancelling' as "cancel_requested!", retries, crash_count, deadline_ms, model_id,
               used_ms + greatest(0, extract(epoch from
                   (case when $4 then lease_renewed_at else clock_timestamp() end) - attempt_started_at) * 1000)::bigint
                   as "used_ms!"
           from jobs
           where tenant_id = $1 and id = $2 and lease_token = $3 and status in ('running', 'cancelling')
           for update"#,
        lease.tenant.0,
        lease.job_id,
        lease.token,
        until == Until::Heartbeat,
    )
    .fetch_optional(conn)
    .await?
    .ok_or_else(|| lease.lost())?;
    Ok(Held {
        standing: Standing {
            cancel_requested: row.cancel_requested,
            retries: row.retries.unsigned_abs(),
            crash_count: row.crash_count.unsigned_abs(),
            time_left: row.used_ms < row.deadline_ms,
        },
        model_id: row.model_id,
        used_ms: row.used_ms,
    })
}

/// Writes what becomes of a job whose row [`lock`] has locked: its row, its attempt's, the event; of a job that has
/// ended, inputs and checkpoint go.
pub(super) async fn write(
    conn: &mut PgConnection,
    lease: &Lease,
    held: &Held,
    next: &Next,
    results: &Results<'_>,
) -> Result<(), QueueError> {
    if *next == Next::Cancelled && !held.standing.cancel_requested {
        // An attempt that says it was cancelled, though nobody asked: the request is made up for.
        sqlx::query!(
            "update jobs set status = 'cancelling', cancel_requested_at = clock_timestamp()
             where tenant_id = $1 and id = $2",
            lease.tenant.0,
            lease.job_id,
        )
        .execute(&mut *conn)
        .await?;
    }
    let change = Change::of(next)?;
    sqlx::query!(
        "with job as (
             update jobs
             set status = $4, used_ms = $5,
                 run_at = case when $4 = 'queued'
                     then clock_timestamp() + make_interval(secs => $6 * (1 + 0.2 * random())) else run_at end,
                 attempt = attempt - $7, retries = retries + $8, crash_count = crash_count + $9,
                 worker_id = null, attempt_started_at = null, lease_renewed_at = null, lease_expires_at = null,
                 error = $10, report_blob = $11, plan_blob = $12, output_model_id = $13,
                 progress = case when $4 = 'succeeded' then 1 else progress end,
                 finished_at = case when $4 = 'queued' then null else clock_timestamp() end,
                 last_event_seq = last_event_seq + 1
             where tenant_id = $1 and id = $2 and lease_token = $3
             returning tenant_id, id, attempt + $7 as attempt, last_event_seq
         ), ended as (
             update job_attempts a set ended_at = clock_timestamp(), outcome = $14, error = $15
             from job where a.tenant_id = job.tenant_id and a.job_id = job.id and a.lease_token = $3
         )
         insert into job_events (tenant_id, job_id, seq, attempt, kind, message, data)
         select tenant_id, id, last_event_seq, attempt, $16, $17, $18 from job",
        lease.tenant.0,
        lease.job_id,
        lease.token,
        change.status,
        held.used_ms,
        change.delay_seconds,
        change.give_back,
        change.retries,
        change.crashes,
        change.error,
        results.report.map(|blob| &blob.sha256),
        results.plan.map(|blob| &blob.sha256),
        results.output_model_id,
        change.outcome,
        change.attempt_error,
        change.event.kind,
        change.event.message,
        change.event.data,
    )
    .execute(&mut *conn)
    .await?;
    if change.status != "queued" {
        let_go(conn, lease.tenant, lease.job_id).await?;
    }
    Ok(())
}

/// Drops what a job that has ended holds: its models and datasets may be deleted, its checkpoint is garbage.
pub(super) async fn let_go(conn: &mut PgConnection, tenant: TenantId, job_id: Uuid) -> Result<(), QueueError> {
    sqlx::query!("delete from job_inputs where tenant_id = $1 and job_id = $2", tenant.0, job_id)
        .execute(&mut *conn)
        .await?;
    blob::drop_checkpoint(conn, tenant, job_id).await?;
    Ok(())
}

/// The columns that a transition sets.
struct Change {
    status: &'static str,
    outcome: &'static str,
    delay_seconds: f64,
    give_back: i32,
    retries: i32,
    crashes: i32,
    error: Option<Value>,
    attempt_error: Option<Value>,
    event: JobEvent,
}

impl Change {
    fn of(next: &Next) -> Result<Self, QueueError> {
        let plain = |status, outcome, kind: &str, message: &str| Self {
            status,
            outcome,
            delay_seconds: 0.0,
            give_back: 0,
            retries: 0,
            crashes: 0,
            error: None,
            attempt_error: None,
            event: JobEvent { kind: kind.into(), message: message.into(), data: Value::Null },
        };
        Ok(match next {
            Next::Succeeded => plain("succeeded", "succeeded", "succeeded", "The job has succeeded."),
            Next::Cancelled => plain("cancelled", "cancelled", "cancelled", "The job was cancelled."),
            Next::Failed(failure) => {
                let error = to_json(failure)?;
                Self {
                    error: Some(error.clone()),
                    attempt_error: Some(error.clone()),
                    event: JobEvent {
                        kind: "failed".into(),
                        message: format!("The job has failed: {}", clean(&failure.message)),
                        data: json!({ "error": error }),
                    },
                    ..plain("failed", "failed", "", "")
                }
            }
            Next::Queued(Requeue { delay, why: Why::Release }) => Self {
                delay_seconds: delay.as_secs_f64(),
                give_back: 1,
                ..plain("queued", "released", "released", "The worker is going away; the job goes on later.")
            },
            Next::Queued(Requeue { delay, why: why @ (Why::Retry(failure) | Why::Recovery(failure)) }) => {
                let lost = matches!(why, Why::Recovery(_));
                let error = to_json(failure)?;
                let kind = if lost { "worker_lost" } else { "retrying" };
                Self {
                    delay_seconds: delay.as_secs_f64(),
                    retries: i32::from(!lost),
                    crashes: i32::from(lost),
                    attempt_error: Some(error.clone()),
                    event: JobEvent {
                        kind: kind.into(),
                        message: format!("The attempt ended and the job goes on: {}", clean(&failure.message)),
                        data: json!({ "error": error, "delay_ms": u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) }),
                    },
                    ..plain("queued", if lost { "lost" } else { "retried" }, "", "")
                }
            }
        })
    }
}
