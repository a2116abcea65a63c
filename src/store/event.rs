//! Events of a job, as the API shows them.

use chrono::{DateTime, Utc};
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
