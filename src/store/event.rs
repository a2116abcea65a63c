//! Events of a job and its attempts, as the API shows them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::StoreError;
use super::tenant::TenantId;
use crate::spec::attempt::JobEvent;

/// Something that happened in a job. The numbers of a job's events have no gaps, and a reader that has seen a number has
/// seen, or can see, every smaller one: they are given under the lock of the job's row.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, 3, … within the job.
    pub seq: i64,
    /// Attempts that the job had been charged when it happened; 0 before the first.
    pub attempt: u32,
    pub event: JobEvent,
    pub created_at: DateTime<Utc>,
}

/// One claim of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The fencing token of the claim.
    pub lease_token: i64,
    /// Number as charged; the number of a released attempt is used again.
    pub attempt: u32,
    pub worker_id: Uuid,
    pub started_at: DateTime<Utc>,
    /// `None` while it runs.
    pub ended_at: Option<DateTime<Utc>>,
    /// `succeeded`, `failed`, `retried`, `released`, `lost` or `cancelled`.
    pub outcome: Option<String>,
    pub error: Option<Value>,
}

/// At most `limit` events of a job with numbers above `after`, oldest first. Of a job that is not there, none.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    job_id: Uuid,
    after: i64,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let rows = sqlx::query!(
        "select seq, attempt, kind, message, data, created_at from job_events
         where tenant_id = $1 and job_id = $2 and seq > $3 order by seq limit $4",
        tenant.0,
        job_id,
        after,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Event {
            seq: row.seq,
            attempt: row.attempt.unsigned_abs(),
            event: JobEvent { kind: row.kind, message: row.message, data: row.data },
            created_at: row.created_at,
        })
        .collect())
}

/// The attempts of a job, oldest first.
pub async fn attempts(conn: &mut PgConnection, tenant: TenantId, job_id: Uuid) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query!(
        "select lease_token, attempt, worker_id, started_at, ended_at, outcome, error from job_attempts
         where tenant_id = $1 and job_id = $2 order by lease_token",
        tenant.0,
        job_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Attempt {
            lease_token: row.lease_token,
            attempt: row.attempt.unsigned_abs(),
            worker_id: row.worker_id,
            started_at: row.started_at,
            ended_at: row.ended_at,
            outcome: row.outcome,
            error: row.error,
        })
        .collect())
}
