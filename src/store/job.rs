//! Jobs as the API shows them; `queue` alone changes them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::blob::BlobRef;
use super::error::{Resource, StoreError};
use super::page::{Page, PageRequest};
use super::tenant::TenantId;
use crate::spec::failure::Failure;
use crate::spec::job::{JobKind, JobStatus, Stage};

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: Uuid,
    pub kind: JobKind,
    pub status: JobStatus,
    /// The model that it works on; the id stays when the model is deleted after the job has ended.
    pub model_id: Uuid,
    /// The dataset that the request named for the whole job.
    pub dataset_id: Option<Uuid>,
    /// Name of the model that it makes, where the client chose one.
    pub name: Option<String>,
    /// The request as it arrived.
    pub request: Value,
    /// The checked spec with all defaults filled in, as stored; an old one may not be readable as today's `JobSpec`.
    pub spec: Value,
    pub created_at: DateTime<Utc>,
    /// Higher runs first.
    pub priority: i16,
    /// Earliest time of the next attempt.
    pub run_at: DateTime<Utc>,
    /// Attempts that were charged; a released one is given back.
    pub attempt: u32,
    /// Attempts after a failure that is worth one more try.
    pub retries: u32,
    /// Attempts after a lost worker.
    pub crash_count: u32,
    /// Running time that it may use.
    pub deadline_ms: u64,
    /// Running time that ended attempts have used.
    pub used_ms: u64,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// What the running attempt does, or the last one did; `None` before the first stage.
    pub stage: Option<Stage>,
    /// The step (0-based) that `stage` belongs to.
    pub step: u32,
    /// Share that is done, 0..=1; may fall when an attempt begins anew.
    pub progress: f64,
    /// Why it failed.
    pub error: Option<Failure>,
    /// SHA-256 of the report, of a job that succeeded.
    pub report_blob: Option<String>,
    /// SHA-256 of the plan, where something was cut.
    pub plan_blob: Option<String>,
    /// The last model it made.
    pub output_model_id: Option<Uuid>,
    /// Start of the first attempt.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Number of its last event.
    pub last_event_seq: i64,
}

/// Which jobs a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    pub status: Option<JobStatus>,
    pub kind: Option<JobKind>,
    /// Jobs that work on this model.
    pub model_id: Option<Uuid>,
}

/// A job's row. Enums are read as JSON strings, so that their names in SQL and in JSON are one list.
struct Row {
    id: Uuid,
    kind: Json<JobKind>,
    status: Json<JobStatus>,
    model_id: Uuid,
    dataset_id: Option<Uuid>,
    name: Option<String>,
    request: Value,
    spec: Value,
    created_at: DateTime<Utc>,
    priority: i16,
    run_at: DateTime<Utc>,
    attempt: i32,
    retries: i32,
    crash_count: i32,
    deadline_ms: i64,
    used_ms: i64,
    cancel_requested_at: Option<DateTime<Utc>>,
    stage: Option<Json<Stage>>,
    step: i32,
    progress: f64,
    error: Option<Json<Failure>>,
    report_blob: Option<String>,
    plan_blob: Option<String>,
    output_model_id: Option<Uuid>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    last_event_seq: i64,
}

impl From<Row> for Job {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            kind: row.kind.0,
            status: row.status.0,
            model_id: row.model_id,
            dataset_id: row.dataset_id,
            name: row.name,
            request: row.request,
            spec: row.spec,
            created_at: row.created_at,
            priority: row.priority,
            run_at: row.run_at,
            // CHECK constraints keep the counters from falling below 0.
            attempt: row.attempt.unsigned_abs(),
            retries: row.retries.unsigned_abs(),
            crash_count: row.crash_count.unsigned_abs(),
            deadline_ms: row.deadline_ms.unsigned_abs(),
            used_ms: row.used_ms.unsigned_abs(),
            cancel_requested_at: row.cancel_requested_at,
            stage: row.stage.map(|stage| stage.0),
            step: row.step.unsigned_abs(),
            progress: row.progress,
            error: row.error.map(|error| error.0),
            report_blob: row.report_blob,
            plan_blob: row.plan_blob,
            output_model_id: row.output_model_id,
            started_at: row.started_at,
            finished_at: row.finished_at,
            last_event_seq: row.last_event_seq,
        }
    }
}

/// Reads a job.
///
/// Errors: `NotFound`.
pub async fn get(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<Job, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, to_jsonb(kind) as "kind!: Json<JobKind>", to_jsonb(status) as "status!: Json<JobStatus>",
                  model_id, dataset_id, name, request, spec, created_at, priority, run_at, attempt, retries,
                  crash_count, deadline_ms, used_ms, cancel_requested_at, to_jsonb(stage) as "stage: Json<Stage>",
                  step, progress, error as "error: Json<Failure>", report_blob, plan_blob, output_model_id,
                  started_at, finished_at, last_event_seq
           from jobs where tenant_id = $1 and id = $2"#,
        tenant.0,
        id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.ok_or(StoreError::NotFound { what: Resource::Job, id })?.into())
}

/// Lists jobs, newest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    filter: JobFilter,
    page: PageRequest,
) -> Result<Page<Job>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, to_jsonb(kind) as "kind!: Json<JobKind>", to_jsonb(status) as "status!: Json<JobStatus>",
                  model_id, dataset_id, name, request, spec, created_at, priority, run_at, attempt, retries,
                  crash_count, deadline_ms, used_ms, cancel_requested_at, to_jsonb(stage) as "stage: Json<Stage>",
                  step, progress, error as "error: Json<Failure>", report_blob, plan_blob, output_model_id,
                  started_at, finished_at, last_event_seq
           from jobs
           where tenant_id = $1 and ($2::uuid is null or id < $2) and ($3::text is null or status = $3)
             and ($4::text is null or kind = $4) and ($5::uuid is null or model_id = $5)
           order by id desc limit $6"#,
        tenant.0,
        page.after(),
        filter.status.map(JobStatus::as_str),
        filter.kind.map(JobKind::as_str),
        filter.model_id,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(page.page(rows.into_iter().map(Job::from).collect(), |job| job.id))
}

/// A job's report and plan, where it has them.
///
/// Errors: `NotFound` where there is no such job.
pub async fn results(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> Result<(Option<BlobRef>, Option<BlobRef>), StoreError> {
    let row = sqlx::query!(
        r#"select j.report_blob, r.size_bytes as "report_size?", j.plan_blob, p.size_bytes as "plan_size?"
           from jobs j left join blobs r on r.sha256 = j.report_blob left join blobs p on p.sha256 = j.plan_blob
           where j.tenant_id = $1 and j.id = $2"#,
        tenant.0,
        id,
    )
    .fetch_optional(conn)
    .await?
    .ok_or(StoreError::NotFound { what: Resource::Job, id })?;
    let blob =
        |sha256: Option<String>, size: Option<i64>| Some(BlobRef { sha256: sha256?, size_bytes: size?.unsigned_abs() });
    Ok((blob(row.report_blob, row.report_size), blob(row.plan_blob, row.plan_size)))
}
