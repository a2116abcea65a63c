//! `/v1/jobs`: what is to be done, where it stands, how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sqlx::PgConnection;
use tokio::time::Instant;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::changes::Woken;
use super::extract::{Id, Params, Tenant};
use super::job_body::{JobBody, StepModel, bodies};
use super::page::{self, Page};
use super::prefer::{self, PREFERENCE_APPLIED};
use super::problem::Problem;
use super::responses::OneProblems;
use super::state::AppState;
use super::{events, report, submit};
use crate::queue;
use crate::spec::job::{JobKind, JobStatus};
use crate::store::job::{self, Job, JobFilter};
use crate::store::model;
use crate::store::tenant::TenantId;

/// The routes of jobs; those that a client may ask to wait apart, since they have more time.
pub fn routes() -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    let quick = OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(cancel_job))
        .routes(routes!(events::list_job_events))
        .routes(routes!(report::get_job_report))
        .routes(routes!(report::get_job_plan));
    (quick, OpenApiRouter::new().routes(routes!(get_job)).routes(routes!(submit::create_job)))
}

/// Parameters of a list of jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct JobListQuery {
    /// Items of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only jobs that stand so.
    status: Option<JobStatus>,
    /// Only jobs of this kind.
    kind: Option<JobKind>,
    /// Only jobs that work on this model.
    model_id: Option<Uuid>,
}

/// List jobs
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(JobListQuery),
    responses((status = 200, description = "A page of jobs", body = Page<JobBody>)),
)]
async fn list_jobs(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Params(query): Params<JobListQuery>,
) -> Result<Json<Page<JobBody>>, Problem> {
    let page = page::request(query.limit, query.cursor.as_deref())?;
    let filter = JobFilter { status: query.status, kind: query.kind, model_id: query.model_id };
    let mut connection = state.connection().await?;
    let rows = job::list(&mut connection, tenant, filter, page).await?;
    let ids: Vec<Uuid> = rows.items.iter().map(|job| job.id).collect();
    let models = models_of(&mut connection, tenant, &ids).await?;
    Ok(Json(Page { items: bodies(rows.items, models), next_cursor: rows.next_cursor }))
}

/// Read a job
///
/// With `Prefer: wait=N` the answer comes when the job has ended, after N seconds (60 at most) at the latest.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs",
    params(
        ("id" = Uuid, Path, description = "Id of the job"),
        ("Prefer" = Option<String>, Header, description = "How long to wait for the end of the job", example = "wait=30"),
    ),
    responses(
        (status = 200, description = "The job", body = JobBody, headers(("Preference-Applied" = String, description = "The wait that was honoured"))),
        OneProblems,
    ),
)]
async fn get_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = prefer::wait(&headers);
    let job = awaited(&state, tenant, id, wait.unwrap_or_default()).await?;
    let mut response = Json(body(&mut *state.connection().await?, tenant, job).await?).into_response();
    applied(&mut response, wait);
    Ok(response)
}

/// Cancel a job
///
/// A job that waits is cancelled at once; one that runs is `cancelling` until its worker has let go, which takes seconds.
/// Of a job that has ended nothing changes: the call can be repeated at will.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = Uuid, Path, description = "Id of the job")),
    responses((status = 202, description = "The job as it stands now", body = JobBody), OneProblems),
)]
async fn cancel_job(State(state): State<AppState>, Tenant(tenant): Tenant, Id(id): Id) -> Result<Response, Problem> {
    let mut connection = state.connection().await?;
    queue::cancel(&mut connection, tenant, id).await?;
    let job = job::get(&mut connection, tenant, id).await?;
    Ok((StatusCode::ACCEPTED, Json(body(&mut connection, tenant, job).await?)).into_response())
}

/// Reads a job, once it has ended or after `wait` at the latest.
pub(super) async fn awaited(state: &AppState, tenant: TenantId, id: Uuid, wait: Duration) -> Result<Job, Problem> {
    let until = Instant::now() + wait;
    // Watch first and read then, so that nothing falls between.
    let mut watch = state.changes.watch(id);
    loop {
        // No connection is held while waiting.
        let job = job::get(&mut *state.connection().await?, tenant, id).await?;
        if job.status.is_finished() || Instant::now() >= until {
            return Ok(job);
        }
        if watch.changed(until).await == Woken::Shutdown {
            return Ok(job);
        }
    }
}

/// Tells which wait was honoured.
pub(super) fn applied(response: &mut Response, wait: Option<Duration>) {
    if let Some(wait) = wait
        && let Ok(value) = HeaderValue::try_from(format!("wait={}", wait.as_secs()))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
}

pub(super) async fn body(connection: &mut PgConnection, tenant: TenantId, job: Job) -> Result<JobBody, Problem> {
    let made = models_of(connection, tenant, &[job.id]).await?.remove(&job.id).unwrap_or_default();
    Ok(JobBody::new(job, made))
}

async fn models_of(
    connection: &mut PgConnection,
    tenant: TenantId,
    jobs: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<StepModel>>, Problem> {
    let mut models: BTreeMap<Uuid, Vec<StepModel>> = BTreeMap::new();
    for (job_id, step, model_id) in model::made_by(connection, tenant, jobs).await? {
        models.entry(job_id).or_default().push(StepModel { step, model_id });
    }
    Ok(models)
}
