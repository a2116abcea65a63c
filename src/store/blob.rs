//! Blobs: content that rows may refer to.
//!
//! Who stores one announces it first (a committed row, touched now), then makes the object visible, then refers to it in
//! a transaction of its own. The collector takes only rows that nobody has touched for a grace period, and locks the row
//! while it deletes the object. So an announcement either comes first, and the collector leaves the blob alone, or waits
//! until the old object is gone, and the object is put anew.

use std::path::Path;

use sqlx::PgConnection;

use super::error::StoreError;
use super::object::Objects;
use super::spool::{Spooled, hash_file};

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
async fn announce(conn: &mut PgConnection, blob: &BlobRef) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into blobs (sha256, size_bytes) values ($1, $2)
         on conflict (sha256) do update set touched_at = now()",
        blob.sha256,
        blob.size_bytes as i64,
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
