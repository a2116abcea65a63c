//! Jobs whose attempt can no longer speak for them: lost workers, deadlines that nobody enforced.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Lease;
use super::ending::end;
use super::error::QueueError;
use super::transition::{Ending, Next};
use crate::store::tenant::TenantId;

/// Jobs that one call looks at; the rest waits for the next, so that the transaction stays short.
const BATCH: i64 = 100;

/// Key of the advisory lock that keeps rescuers from doing the same work ("secateur" in ASCII).
const RESCUE_LOCK: i64 = 0x7365_6361_7465_7572;

/// A job that was taken away from its attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescued {
    pub lease: Lease,
    pub next: Next,
}

/// Ends attempts whose lease has run out, and those that run on `overdue` after their job's running time is used up (a
/// live worker ends them itself well before). Any worker may call it at any time; where another one is at it, nothing is
/// done.
pub async fn rescue(conn: &mut PgConnection, overdue: Duration) -> Result<Vec<Rescued>, QueueError> {
    let mut tx = conn.begin().await?;
    let alone = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "alone!""#, RESCUE_LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !alone {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select tenant_id, id, lease_token, lease_expires_at <= now() as "lost!" from jobs
           where status in ('running', 'cancelling')
             and (lease_expires_at <= now()
                  or extract(epoch from now() - attempt_started_at)::float8 * 1000 >= (deadline_ms - used_ms)::float8 + $1)
           order by lease_expires_at limit $2
           for update skip locked"#,
        overdue.as_secs_f64() * 1000.0,
        BATCH,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut rescued = Vec::with_capacity(rows.len());
    for row in rows {
        let lease = Lease { tenant: TenantId(row.tenant_id), job_id: row.id, token: row.lease_token };
        let next = end(&mut tx, &lease, if row.lost { Ending::Lost } else { Ending::Overdue }).await?;
        rescued.push(Rescued { lease, next });
    }
    tx.commit().await?;
    Ok(rescued)
}

/// Ends the attempts of workers that are known to be dead, without waiting for their leases: on one host, a start that
/// holds the data directory's lock knows that its predecessor is.
pub async fn rescue_from(conn: &mut PgConnection, workers: &[Uuid]) -> Result<Vec<Rescued>, QueueError> {
    let mut tx = conn.begin().await?;
    let rows = sqlx::query!(
        "select tenant_id, id, lease_token from jobs
         where status in ('running', 'cancelling') and worker_id = any($1)
         order by tenant_id, id for update",
        workers,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut rescued = Vec::with_capacity(rows.len());
    for row in rows {
        let lease = Lease { tenant: TenantId(row.tenant_id), job_id: row.id, token: row.lease_token };
        let next = end(&mut tx, &lease, Ending::Lost).await?;
        rescued.push(Rescued { lease, next });
    }
    tx.commit().await?;
    Ok(rescued)
}
