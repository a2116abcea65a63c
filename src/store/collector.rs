//! The collector of blobs that no row refers to. The protocol that keeps it from racing a publish stands in
//! [`super::blob`].

use std::time::Duration;

use sqlx::Acquire;

use super::database::Database;
use super::error::StoreError;
use super::object::Objects;

/// Youngest age at which an unreferenced blob may be collected. It has to be longer than an upload takes from its last
/// byte to its row (the inspection), and than a worker takes from storing the first output to publishing; both are
/// minutes at most. A longer one costs disk space.
pub const DEFAULT_GRACE: Duration = Duration::from_hours(1);

/// What a run of the collector removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub blobs: u64,
    pub bytes: u64,
}

/// Removes at most `limit` blobs that nothing refers to and nobody has touched for `grace`. Several may run at once.
pub async fn collect(
    database: &Database,
    objects: &Objects,
    grace: Duration,
    limit: u32,
) -> Result<Collected, StoreError> {
    let mut conn = database.pool().acquire().await?;
    let candidates = sqlx::query_scalar!(
        "select sha256 from blobs b
         where touched_at < now() - make_interval(secs => $1)
           and not exists (select from models where blob = b.sha256)
           and not exists (select from datasets where blob = b.sha256)
           and not exists (select from jobs where report_blob = b.sha256)
           and not exists (select from jobs where plan_blob = b.sha256)
           and not exists (select from job_checkpoints where blob = b.sha256)
         order by touched_at
         limit $2",
        grace.as_secs_f64(),
        i64::from(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut collected = Collected::default();
    for sha256 in candidates {
        let mut tx = conn.begin().await?;
        let Some(bytes) = lock_garbage(&mut tx, &sha256, grace).await? else { continue };
        // The row goes last: where this process dies in between, the row stays, and who announces the blob next finds
        // no object and puts it.
        objects.delete(&sha256).await?;
        sqlx::query!("delete from blobs where sha256 = $1", sha256).execute(&mut *tx).await?;
        tx.commit().await?;
        collected.blobs += 1;
        collected.bytes += bytes;
    }
    Ok(collected)
}

/// Locks the blob's row and says how large it is, unless it is in use after all.
///
/// Two statements: the lock keeps new references out (their foreign keys wait for it), and only a statement that begins
/// after the lock sees every reference that came in before.
async fn lock_garbage(conn: &mut sqlx::PgConnection, sha256: &str, grace: Duration) -> Result<Option<u64>, StoreError> {
    let locked = sqlx::query_scalar!(
        "select size_bytes from blobs where sha256 = $1 and touched_at < now() - make_interval(secs => $2) for update skip locked",
        sha256,
        grace.as_secs_f64(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(bytes) = locked else { return Ok(None) };
    let used = sqlx::query_scalar!(
        r#"select exists (select from models where blob = $1)
               or exists (select from datasets where blob = $1)
               or exists (select from jobs where report_blob = $1)
               or exists (select from jobs where plan_blob = $1)
               or exists (select from job_checkpoints where blob = $1) as "used!""#,
        sha256,
    )
    .fetch_one(conn)
    .await?;
    Ok((!used).then_some(bytes as u64))
}
