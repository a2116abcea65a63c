//! What is thrown away by age: finished jobs, answered requests.

use std::time::Duration;

use sqlx::PgConnection;

use super::error::StoreError;

/// Deletes at most `limit` jobs, of all tenants, that ended at least `age` ago, with their events and attempts. The
/// models that they made stay, their reports and plans are left to the collector. Returns how many.
pub async fn delete_finished_jobs(conn: &mut PgConnection, age: Duration, limit: u32) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from jobs where (tenant_id, id) in (
             select tenant_id, id from jobs where finished_at <= now() - make_interval(secs => $1)
             order by finished_at limit $2 for update skip locked)",
        age.as_secs_f64(),
        i64::from(limit),
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes the idempotency keys whose time is over. Returns how many.
pub async fn delete_expired_keys(conn: &mut PgConnection) -> Result<u64, StoreError> {
    let deleted = sqlx::query!("delete from idempotency_keys where expires_at <= now()").execute(conn).await?;
    Ok(deleted.rows_affected())
}
