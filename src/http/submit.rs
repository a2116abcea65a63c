//! `POST /v1/jobs`: a request is parsed, held against what is known of its model and datasets, and queued, or refused with
//! every place that keeps it from working.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sqlx::PgConnection;
use uuid::Uuid;

use super::extract::{JsonBody, Tenant, pointed};
use super::idempotent::{self, IdempotencyKey, Turn, fingerprint};
use super::job_body::JobBody;
use super::jobs::{applied, awaited, body};
use super::prefer;
use super::problem::{Problem, ProblemCode, ProblemItem};
use super::responses::JobProblems;
use super::state::{AppState, HttpSettings};
use super::upload::name_defect;
use crate::queue::{self, NewJob};
use crate::spec::compatibility::{self, Inputs};
use crate::spec::failure::FailureCode;
use crate::spec::job::{JobKind, JobRequest, JobSpec, StepSpec};
use crate::spec::summary::{DatasetSummary, ModelSummary};
use crate::store::error::StoreError;
use crate::store::idempotency::StoredResponse;
use crate::store::tenant::TenantId;
use crate::store::{dataset, model};

/// Submit a job
///
/// The job is checked at once: unknown fields, numbers out of range, models and datasets that do not exist or do not fit
/// together are refused. With `Prefer: wait=N` the answer comes when the job has ended (200), after N seconds (60 at
/// most) at the latest (202).
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe: it is answered as the first request was, for 24 hours."),
        ("Prefer" = Option<String>, Header, description = "How long to wait for the end of the job", example = "wait=30"),
    ),
    request_body(content = JobRequest, examples(
        ("prune" = (summary = "Half of the multiply-accumulates", value = json!({
            "kind": "prune", "model_id": "019a0c00-0000-7000-8000-000000000001",
            "spec": {"criterion": "l2", "scope": "global", "target": {"macs_kept": 0.5}, "round_to": 8},
        }))),
        ("analyze" = (summary = "What could be pruned, what not and why", value = json!({
            "kind": "analyze", "model_id": "019a0c00-0000-7000-8000-000000000001", "spec": {"exclude": ["head*"]},
        }))),
        ("pipeline" = (summary = "Prune, retrain, compare", value = json!({
            "kind": "pipeline", "model_id": "019a0c00-0000-7000-8000-000000000001",
            "dataset_id": "019a0c00-0000-7000-8000-000000000002",
            "spec": {"steps": [
                {"kind": "prune", "spec": {"target": {"macs_kept": 0.5}}},
                {"kind": "retrain", "spec": {"epochs": 10, "batch_size": 128}},
                {"kind": "evaluate", "dataset_id": "019a0c00-0000-7000-8000-000000000003"},
            ]},
        }))),
    )),
    responses(
        (status = 202, description = "The job is queued", body = JobBody, headers(("Location" = String, description = "Path of the job"), ("Preference-Applied" = String, description = "The wait that was honoured"))),
        (status = 200, description = "The job has ended within the wait", body = JobBody, headers(("Location" = String, description = "Path of the job"), ("Preference-Applied" = String, description = "The wait that was honoured"))),
        JobProblems,
    ),
)]
pub async fn create_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    key: IdempotencyKey,
    headers: HeaderMap,
    JsonBody(request): JsonBody<JobRequest>,
) -> Result<Response, Problem> {
    let spec = request.parse().map_err(|error| {
        let needs_data = error.code == FailureCode::DatasetRequired;
        pointed(if needs_data { ProblemCode::DatasetRequired } else { ProblemCode::InvalidSpec }, error)
    })?;
    let deadline = checked(&request, &state.settings)?;
    let canonical = serde_json::to_vec(&request).map_err(Problem::internal)?;
    let held = match key.take(&state, tenant, &fingerprint("create_job", &[&canonical])).await? {
        Turn::CarryOut(held) => held,
        Turn::Answered(response) => return Ok(response),
    };
    check_inputs(&mut *state.connection().await?, tenant, &request, &spec).await?;
    let new = NewJob { id: Uuid::now_v7(), request, spec, deadline, priority: 0 };
    let mut transaction = state.database.pool().begin().await?;
    let job = queue::enqueue(&mut transaction, tenant, &new).await?;
    let response = idempotent::created(StatusCode::ACCEPTED, &JobBody::new(job, Vec::new()))?;
    held.complete(&mut transaction, &response).await?;
    transaction.commit().await?;
    held.committed();
    tracing::info!(job.id = %new.id, job.kind = new.spec.kind.as_str(), "Job queued");
    finished_or(&state, tenant, new.id, response, &headers).await
}

/// The answer: as the job was queued, or as it stands after the wait that was asked for.
async fn finished_or(
    state: &AppState,
    tenant: TenantId,
    id: Uuid,
    queued: StoredResponse,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let Some(wait) = prefer::wait(headers) else { return idempotent::answer(&queued) };
    let job = awaited(state, tenant, id, wait).await?;
    let status = if job.status.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let now = body(&mut *state.connection().await?, tenant, job).await?;
    let mut response = idempotent::answer(&idempotent::created(status, &now)?)?;
    applied(&mut response, Some(wait));
    Ok(response)
}

/// Checks what stands around the spec; returns the running time.
fn checked(request: &JobRequest, settings: &HttpSettings) -> Result<Duration, Problem> {
    let refused =
        |pointer, detail| Err(Problem::pointing(ProblemCode::InvalidRequest, vec![ProblemItem::at(pointer, detail)]));
    if let Some(defect) = request.name.as_deref().and_then(name_defect) {
        return refused("/name", defect);
    }
    let longest = settings.longest_job_deadline.as_secs();
    match request.deadline_seconds.map(u64::from) {
        None => Ok(settings.job_deadline),
        Some(seconds) if (1..=longest).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => refused("/deadline_seconds", format!("must be between 1 and {longest}, is {seconds}")),
    }
}

/// Checks that everything exists that the job names, and that it fits together.
///
/// Errors: every place that is wrong, of the first kind that there is: `reference_not_found` before `dataset_mismatch`
/// and `invalid_spec`.
async fn check_inputs(
    connection: &mut PgConnection,
    tenant: TenantId,
    request: &JobRequest,
    spec: &JobSpec,
) -> Result<(), Problem> {
    let mut missing = Vec::new();
    let mut models: BTreeMap<Uuid, ModelSummary> = BTreeMap::new();
    let mut datasets: BTreeMap<Uuid, DatasetSummary> = BTreeMap::new();
    for Reference { id, what, pointer } in references(request, spec) {
        let found = match what {
            What::Model if models.contains_key(&id) => Ok(()),
            What::Model => model::get(connection, tenant, id).await.map(|row| drop(models.insert(id, row.summary))),
            What::Dataset if datasets.contains_key(&id) => Ok(()),
            What::Dataset => {
                dataset::get(connection, tenant, id).await.map(|row| drop(datasets.insert(id, row.summary)))
            }
        };
        match found {
            Ok(()) => {}
            Err(error @ StoreError::NotFound { .. }) => missing.push(ProblemItem::at(pointer, error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    let Some(model) = models.get(&request.model_id).filter(|_| missing.is_empty()) else {
        return Err(Problem::pointing(ProblemCode::ReferenceNotFound, missing));
    };
    let inputs = Inputs { model, other_models: &models, datasets: &datasets, job_dataset_id: request.dataset_id };
    let found = compatibility::check(spec, &inputs);
    let code = match found.first().map(|mismatch| mismatch.code) {
        None => return Ok(()),
        Some(FailureCode::DatasetMismatch) => ProblemCode::DatasetMismatch,
        Some(_) => ProblemCode::InvalidSpec,
    };
    let items = found.into_iter().map(|mismatch| ProblemItem::at(mismatch.pointer, mismatch.message)).collect();
    Err(Problem::pointing(code, items))
}

#[derive(Clone, Copy)]
enum What {
    Model,
    Dataset,
}

/// A model or dataset that a request names, and where.
struct Reference {
    id: Uuid,
    what: What,
    pointer: String,
}

fn references(request: &JobRequest, spec: &JobSpec) -> Vec<Reference> {
    let mut references = vec![Reference { id: request.model_id, what: What::Model, pointer: "/model_id".into() }];
    if let Some(id) = request.dataset_id {
        references.push(Reference { id, what: What::Dataset, pointer: "/dataset_id".into() });
    }
    for (number, step) in spec.steps.iter().enumerate() {
        let at = if spec.kind == JobKind::Pipeline { format!("/spec/steps/{number}") } else { String::new() };
        if let Some(id) = step.dataset_id.filter(|id| Some(*id) != request.dataset_id) {
            references.push(Reference { id, what: What::Dataset, pointer: format!("{at}/dataset_id") });
        }
        if let StepSpec::Evaluate(evaluate) = &step.spec
            && let Some(id) = evaluate.baseline_model_id
        {
            references.push(Reference { id, what: What::Model, pointer: format!("{at}/spec/baseline_model_id") });
        }
    }
    references
}
