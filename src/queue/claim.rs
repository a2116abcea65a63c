//! Taking a job and keeping it.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::QueueError;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::job::JobSpec;
use crate::store::tenant::TenantId;

/// The right to write to a job: the claim's fencing token. Not proof that the job is still held; every write finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub tenant: TenantId,
    pub job_id: Uuid,
    pub token: i64,
}

impl Lease {
    pub(super) fn lost(&self) -> QueueError {
        QueueError::LeaseLost { job_id: self.job_id, token: self.token }
    }
}

/// A job that was claimed.
#[derive(Clone, Debug)]
pub struct Claim {
    pub lease: Lease,
    pub model_id: Uuid,
    /// Name for the model that it makes, where the client chose one.
    pub name: Option<String>,
    spec: Value,
    /// Number of this attempt, from 1; released attempts do not count.
    pub attempt: u32,
    /// Running time left to the job.
    pub time_left: Duration,
}

impl Claim {
    /// What is to be done.
    ///
    /// Errors: a failure for [`super::fail`] where the stored spec is of another version and cannot be read.
    pub fn spec(&self) -> Result<JobSpec, Failure> {
        serde_json::from_value(self.spec.clone()).map_err(|error| {
            Failure::new(
                FailureCode::InvalidSpec,
                format!("this version of the service cannot read the job's stored spec ({error}); submit it again"),
            )
        })
    }
}

/// Claims the next job, of any tenant, for `worker_id` (unique to each start of a worker), and charges the attempt.
/// `None` where none is due. One short statement, which never waits for another claimer.
pub async fn claim(conn: &mut PgConnection, worker_id: Uuid, lease: Duration) -> Result<Option<Claim>, QueueError> {
    let row = sqlx::query!(
        r#"with due as (
               select tenant_id, id from jobs
               where status = 'queued' and run_at <= now()
               order by priority desc, run_at, id
               limit 1
               for update skip locked
           ), job as (
               update jobs j
               set status = 'running', lease_token = lease_token + 1, attempt = attempt + 1, worker_id = $1,
                   attempt_started_at = now(), lease_renewed_at = now(),
                   lease_expires_at = now() + make_interval(secs => $2), started_at = coalesce(started_at, now()),
                   last_event_seq = last_event_seq + 1
               from due where j.tenant_id = due.tenant_id and j.id = due.id
               returning j.*
           ), attempt as (
               insert into job_attempts (tenant_id, job_id, lease_token, attempt, worker_id)
               select tenant_id, id, lease_token, attempt, $1 from job
           ), event as (
               insert into job_events (tenant_id, job_id, seq, attempt, kind, message, data)
               select tenant_id, id, last_event_seq, attempt, 'started', format('Attempt %s has started.', attempt),
                      jsonb_build_object('attempt', attempt)
               from job
           )
           select tenant_id, id, lease_token, model_id, name, spec, attempt, deadline_ms - used_ms as "time_left_ms!"
           from job"#,
        worker_id,
        lease.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Claim {
        lease: Lease { tenant: TenantId(row.tenant_id), job_id: row.id, token: row.lease_token },
        model_id: row.model_id,
        name: row.name,
        spec: row.spec,
        attempt: row.attempt.unsigned_abs(),
        time_left: millis(row.time_left_ms),
    }))
}

/// What a heartbeat learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The job is still held.
    Held {
        /// A user wants it to stop: end the attempt, then [`super::finish_cancelled`].
        cancel_requested: bool,
        /// Running time left to the job; zero means end the attempt as `deadline_exceeded`.
        time_left: Duration,
    },
    /// The job was taken away: stop, kill, write nothing.
    Lost,
}

/// Renews the lease for another `duration` from now. The worker counts its own deadline from the moment it sent this; a
/// call that failed leaves open whether the lease was renewed.
pub async fn renew(conn: &mut PgConnection, lease: &Lease, duration: Duration) -> Result<Renewal, QueueError> {
    let row = sqlx::query!(
        r#"update jobs set lease_renewed_at = now(), lease_expires_at = now() + make_interval(secs => $4)
           where tenant_id = $1 and id = $2 and lease_token = $3 and status in ('running', 'cancelling')
           returning status = 'cancelling' as "cancel_requested!",
               deadline_ms - used_ms - (extract(epoch from now() - attempt_started_at) * 1000)::bigint as "time_left_ms!""#,
        lease.tenant.0,
        lease.job_id,
        lease.token,
        duration.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or(Renewal::Lost, |row| Renewal::Held {
        cancel_requested: row.cancel_requested,
        time_left: millis(row.time_left_ms),
    }))
}

/// Milliseconds as the database counts them; below zero is none.
fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
