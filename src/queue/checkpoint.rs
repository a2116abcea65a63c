//! Checkpoints: what a later attempt goes on from. They survive retries and end with the job.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Lease;
use super::ending::{Until, lock};
use super::error::QueueError;
use crate::store::blob::{self, BlobRef};
use crate::store::error::StoreError;
use crate::store::tenant::TenantId;

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Path within the checkpoint's directory.
    pub name: String,
    /// Stored within the collector's grace period; a file that did not change keeps its blob.
    pub blob: BlobRef,
}

/// Replaces the job's checkpoint by these files, all or none. What only the one before held is garbage at once.
///
/// Errors: `LeaseLost`, `BlobMissing`.
pub async fn save_checkpoint(
    conn: &mut PgConnection,
    lease: &Lease,
    files: &[CheckpointFile],
) -> Result<(), QueueError> {
    let mut tx = conn.begin().await?;
    // The lock is held to the end, so nobody rescues the job in between.
    lock(&mut tx, lease, Until::Now).await?;
    replace(&mut tx, lease, files).await?;
    tx.commit().await?;
    Ok(())
}

/// [`save_checkpoint`] of a job whose row the transaction has locked.
pub(super) async fn replace(
    conn: &mut PgConnection,
    lease: &Lease,
    files: &[CheckpointFile],
) -> Result<(), QueueError> {
    blob::drop_checkpoint(conn, lease.tenant, lease.job_id).await?;
    for file in files {
        sqlx::query!(
            "insert into job_checkpoints (tenant_id, job_id, file, blob, size_bytes, lease_token)
             values ($1, $2, $3, $4, $5, $6)",
            lease.tenant.0,
            lease.job_id,
            file.name,
            file.blob.sha256,
            file.blob.size_bytes as i64,
            lease.token,
        )
        .execute(&mut *conn)
        .await
        .map_err(|error| blob::missing(error, "job_checkpoints_blob_fkey", &file.blob))?;
    }
    Ok(())
}

/// The files of the job's last checkpoint, by name; none where it has none.
pub async fn load_checkpoint(
    conn: &mut PgConnection,
    tenant: TenantId,
    job_id: Uuid,
) -> Result<Vec<CheckpointFile>, StoreError> {
    let rows = sqlx::query!(
        "select file, blob, size_bytes from job_checkpoints where tenant_id = $1 and job_id = $2 order by file",
        tenant.0,
        job_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| CheckpointFile {
            name: row.file,
            blob: BlobRef { sha256: row.blob, size_bytes: row.size_bytes.unsigned_abs() },
        })
        .collect())
}
