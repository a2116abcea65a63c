//! Blobs: content that rows may refer to.
//!
//! Who stores one announces it first (a committed row, touched now), then makes the object visible, then refers to it in
//! a transaction of its own. The collector takes only rows that nobody has touched for a grace period, and locks the row
//! while it deletes the object. So an announcement either comes first, and the collector leaves the blob alone, or waits
//! until the old object is gone, and the object is put anew.

use std::path::Path;

use sqlx::PgConnection;
use uuid::Uuid;

use super::error::StoreError;
use super::object::Objects;
use super::spool::{Spooled, hash_file};
use super::tenant::TenantId;

/// Content by its SHA-256 (lower-case hex).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef {
    pub sha256: String,
    pub size_bytes: u64,
}

/// Stores spooled content and returns what a row may refer to within the collector's grace period.
///
/// `conn` must not be in a transaction: the announcement has to be committed before the object is put.
///
/// Errors: `StorageFull`, `Io`, `Database`. Nothing half-written is ever visible.
pub async fn store(conn: &mut PgConnection, objects: &Objects, spooled: Spooled) -> Result<BlobRef, StoreError> {
    let blob = spooled.blob().clone();
    announce(conn, &blob).await?;
    objects.put(spooled).await?;
    Ok(blob)
}

/// Stores a file; content that is already there is not written again. `conn` as for [`store`].
///
/// Errors: as [`store`], and `FileChanged` where the file changed meanwhile.
pub async fn store_file(conn: &mut PgConnection, objects: &Objects, path: &Path) -> Result<BlobRef, StoreError> {
    let blob = hash_file(path).await?;
    announce(conn, &blob).await?;
    if !objects.contains(&blob.sha256).await? {
        let spooled = objects.spool_file(path).await?;
        if *spooled.blob() != blob {
            return Err(StoreError::FileChanged { path: path.to_owned() });
        }
        objects.put(spooled).await?;
    }
    Ok(blob)
}

/// Tells the collector that the blob is about to be used. Waits for a collector that is just deleting it.
///
/// Only of a blob that was announced once are both times the same: [`drop_checkpoint`] relies on it.
async fn announce(conn: &mut PgConnection, blob: &BlobRef) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into blobs (sha256, size_bytes) values ($1, $2)
         on conflict (sha256) do update
             set touched_at = greatest(now(), blobs.created_at + interval '1 microsecond')",
        blob.sha256,
        blob.size_bytes as i64,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops the job's checkpoint and gives its blobs up at once, without the grace period, where only this job can have
/// announced them: it announced every blob that its checkpoint refers to, so of one that was announced once nobody else
/// is between announcement and reference. An announcement that comes later makes the blob young again or finds its row
/// gone; other references keep it as ever.
///
/// `conn` is in a transaction that has the job's row locked.
pub(crate) async fn drop_checkpoint(conn: &mut PgConnection, tenant: TenantId, job_id: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "with gone as (
             delete from job_checkpoints where tenant_id = $1 and job_id = $2 returning blob
         )
         update blobs set touched_at = '-infinity'
         where sha256 in (select blob from gone) and touched_at = created_at",
        tenant.0,
        job_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads the violation of a reference to `blob` as what it means.
pub(crate) fn missing(error: sqlx::Error, constraint: &str, blob: &BlobRef) -> StoreError {
    if StoreError::violates(&error, constraint) {
        StoreError::BlobMissing { sha256: blob.sha256.clone() }
    } else {
        error.into()
    }
}
