//! Datasets as the API shows them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::blob::BlobRef;
use super::error::{Resource, StoreError};
use super::page::{Page, PageRequest};
use super::tenant::TenantId;
use crate::spec::summary::DatasetSummary;

/// A dataset that was uploaded. Never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub id: Uuid,
    /// As the client named it; not unique.
    pub name: String,
    /// The file as it was uploaded.
    pub blob: BlobRef,
    /// What the inspection found, with the preprocessing that is kept with it.
    pub summary: DatasetSummary,
    pub created_at: DateTime<Utc>,
}

/// A dataset that is to be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDataset {
    /// A UUIDv7.
    pub id: Uuid,
    pub name: String,
    /// Stored within the collector's grace period.
    pub blob: BlobRef,
    pub summary: DatasetSummary,
}

struct Row {
    id: Uuid,
    name: String,
    blob: String,
    size_bytes: i64,
    summary: Json<DatasetSummary>,
    created_at: DateTime<Utc>,
}

impl From<Row> for Dataset {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            blob: BlobRef { sha256: row.blob, size_bytes: row.size_bytes as u64 },
            summary: row.summary.0,
            created_at: row.created_at,
        }
    }
}

/// Inserts a dataset and returns it as it stands.
///
/// Errors: `BlobMissing` where the blob was collected since it was stored.
pub async fn insert(conn: &mut PgConnection, tenant: TenantId, dataset: &NewDataset) -> Result<Dataset, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"insert into datasets (tenant_id, id, name, blob, size_bytes, summary) values ($1, $2, $3, $4, $5, $6)
           returning id, name, blob, size_bytes, summary as "summary: Json<DatasetSummary>", created_at"#,
        tenant.0,
        dataset.id,
        dataset.name,
        dataset.blob.sha256,
        dataset.blob.size_bytes as i64,
        Json(&dataset.summary) as _,
    )
    .fetch_one(conn)
    .await
    .map_err(|error| super::blob::missing(error, "datasets_blob_fkey", &dataset.blob))?;
    Ok(row.into())
}

/// Reads a dataset.
///
/// Errors: `NotFound`.
pub async fn get(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<Dataset, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, blob, size_bytes, summary as "summary: Json<DatasetSummary>", created_at
           from datasets where tenant_id = $1 and id = $2"#,
        tenant.0,
        id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.ok_or(StoreError::NotFound { what: Resource::Dataset, id })?.into())
}

/// Lists datasets, newest first.
pub async fn list(conn: &mut PgConnection, tenant: TenantId, page: PageRequest) -> Result<Page<Dataset>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, blob, size_bytes, summary as "summary: Json<DatasetSummary>", created_at
           from datasets where tenant_id = $1 and ($2::uuid is null or id < $2)
           order by id desc limit $3"#,
        tenant.0,
        page.after(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(page.page(rows.into_iter().map(Dataset::from).collect(), |dataset| dataset.id))
}

/// Deletes a dataset; its blob is left to the collector.
///
/// Errors: `NotFound`, `InUse` as for models.
pub async fn delete(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<(), StoreError> {
    let deleted =
        sqlx::query!("delete from datasets where tenant_id = $1 and id = $2", tenant.0, id).execute(conn).await;
    super::deletion::outcome(deleted, "job_inputs_dataset", Resource::Dataset, id)
}
