//! Models as the API shows them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::blob::BlobRef;
use super::error::{Resource, StoreError};
use super::page::{Page, PageRequest};
use super::tenant::TenantId;
use crate::spec::report::Certificate;
use crate::spec::summary::ModelSummary;

/// A model: an artifact that was uploaded or that a job made. Never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub id: Uuid,
    /// As the client or the job named it; not unique.
    pub name: String,
    /// The ONNX file.
    pub blob: BlobRef,
    /// What the inspection found.
    pub summary: ModelSummary,
    pub lineage: Option<Lineage>,
    /// Proof that came with a model that a prune or retrain step made.
    pub certificate: Option<Certificate>,
    pub created_at: DateTime<Utc>,
}

/// Where a job's model comes from. The ids stay when parent or job are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The model that the step started from.
    pub parent_id: Uuid,
    pub job_id: Uuid,
    /// 0-based.
    pub step: u32,
}

/// A model that is to be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewModel {
    /// A UUIDv7.
    pub id: Uuid,
    pub name: String,
    /// Stored within the collector's grace period.
    pub blob: BlobRef,
    pub summary: ModelSummary,
    pub lineage: Option<Lineage>,
    pub certificate: Option<Certificate>,
}

struct Row {
    id: Uuid,
    name: String,
    blob: String,
    size_bytes: i64,
    summary: Json<ModelSummary>,
    parent_id: Option<Uuid>,
    job_id: Option<Uuid>,
    step: Option<i32>,
    certificate: Option<Json<Certificate>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for Model {
    fn from(row: Row) -> Self {
        let lineage = match (row.parent_id, row.job_id, row.step) {
            (Some(parent_id), Some(job_id), Some(step)) => {
                Some(Lineage { parent_id, job_id, step: step.unsigned_abs() })
            }
            _ => None,
        };
        Self {
            id: row.id,
            name: row.name,
            blob: BlobRef { sha256: row.blob, size_bytes: row.size_bytes as u64 },
            summary: row.summary.0,
            lineage,
            certificate: row.certificate.map(|certificate| certificate.0),
            created_at: row.created_at,
        }
    }
}

/// Inserts a model and returns it as it stands.
///
/// Errors: `BlobMissing` where the blob was collected since it was stored.
pub async fn insert(conn: &mut PgConnection, tenant: TenantId, model: &NewModel) -> Result<Model, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"insert into models (tenant_id, id, name, blob, size_bytes, summary, parent_id, job_id, step, certificate)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           returning id, name, blob, size_bytes, summary as "summary: Json<ModelSummary>", parent_id, job_id, step,
                     certificate as "certificate: Json<Certificate>", created_at"#,
        tenant.0,
        model.id,
        model.name,
        model.blob.sha256,
        model.blob.size_bytes as i64,
        Json(&model.summary) as _,
        model.lineage.map(|lineage| lineage.parent_id),
        model.lineage.map(|lineage| lineage.job_id),
        model.lineage.map(|lineage| lineage.step as i32),
        model.certificate.as_ref().map(Json) as _,
    )
    .fetch_one(conn)
    .await
    .map_err(|error| super::blob::missing(error, "models_blob_fkey", &model.blob))?;
    Ok(row.into())
}

/// Reads a model.
///
/// Errors: `NotFound`.
pub async fn get(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<Model, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, blob, size_bytes, summary as "summary: Json<ModelSummary>", parent_id, job_id, step,
                  certificate as "certificate: Json<Certificate>", created_at
           from models where tenant_id = $1 and id = $2"#,
        tenant.0,
        id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.ok_or(StoreError::NotFound { what: Resource::Model, id })?.into())
}

/// Lists models, newest first.
pub async fn list(conn: &mut PgConnection, tenant: TenantId, page: PageRequest) -> Result<Page<Model>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, blob, size_bytes, summary as "summary: Json<ModelSummary>", parent_id, job_id, step,
                  certificate as "certificate: Json<Certificate>", created_at
           from models where tenant_id = $1 and ($2::uuid is null or id < $2)
           order by id desc limit $3"#,
        tenant.0,
        page.after(),
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(page.page(rows.into_iter().map(Model::from).collect(), |model| model.id))
}

/// The model that the job's latest step made, where one did.
pub async fn latest_of(conn: &mut PgConnection, tenant: TenantId, job_id: Uuid) -> Result<Option<Uuid>, StoreError> {
    let id = sqlx::query_scalar!(
        "select id from models where tenant_id = $1 and job_id = $2 order by step desc limit 1",
        tenant.0,
        job_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// The models that jobs made: job, step (0-based), model; by job and step.
pub async fn made_by(
    conn: &mut PgConnection,
    tenant: TenantId,
    jobs: &[Uuid],
) -> Result<Vec<(Uuid, u32, Uuid)>, StoreError> {
    let rows = sqlx::query!(
        r#"select job_id as "job_id!", step as "step!", id from models
           where tenant_id = $1 and job_id = any($2) order by job_id, step"#,
        tenant.0,
        jobs,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.job_id, row.step.unsigned_abs(), row.id)).collect())
}

/// Deletes a model; its blob is left to the collector.
///
/// Errors: `NotFound`, `InUse` where an unfinished job uses it (the foreign key of `job_inputs` decides, so an enqueue at
/// the same moment either fails or is seen). Where it fails within a transaction, that transaction can only be rolled back.
pub async fn delete(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<(), StoreError> {
    let deleted = sqlx::query!("delete from models where tenant_id = $1 and id = $2", tenant.0, id).execute(conn).await;
    super::deletion::outcome(deleted, "job_inputs_model", Resource::Model, id)
}
