//! `GET /v1/jobs/{id}/report` and `…/plan`: what a job found out and what it cut.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::accept::negotiate;
use super::extract::{Id, Tenant};
use super::problem::{Problem, ProblemCode};
use super::responses::{PlanProblems, ReportProblems};
use super::state::AppState;
use crate::prune::Plan;
use crate::spec::report::Report;
use crate::spec::report_markdown;
use crate::store::job;

/// Read a job's report
///
/// Baseline and candidate side by side, and what each step did. With `Accept: text/markdown` a table that fits a comment
/// on a pull request.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/report", tag = "jobs", params(("id" = Uuid, Path, description = "Id of the job")),
    responses(
        (status = 200, description = "The report", content((Report = "application/json"), (String = "text/markdown"))),
        ReportProblems,
    ),
)]
pub async fn get_job_report(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let kind = negotiate(&headers, &["application/json", "text/markdown"])?;
    let mut connection = state.connection().await?;
    let job = job::get(&mut connection, tenant, id).await?;
    let (Some(report), _) = job::results(&mut connection, tenant, id).await? else {
        let detail = format!("The job is {}; a job has a report once it has succeeded.", job.status.as_str());
        return Err(Problem::new(ProblemCode::ReportNotAvailable, detail));
    };
    drop(connection);
    let mut response = if kind == "text/markdown" {
        let bytes = state.objects.read(&report.sha256).await?;
        let report: Report = serde_json::from_slice(&bytes).map_err(Problem::internal)?;
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"))];
        (headers, report_markdown::render(&report)).into_response()
    } else {
        json(Body::from_stream(state.objects.get(&report.sha256).await?))
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Read a job's plan
///
/// What a structured cut removes: the indices of each initializer and axis, and the numbers that change with it. Names and
/// positions are those of the uploaded file, so that the cut can be checked or done again.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/plan", tag = "jobs", params(("id" = Uuid, Path, description = "Id of the job")),
    responses(
        (status = 200, description = "The plan", body = Plan, content_type = "application/json"),
        PlanProblems,
    ),
)]
pub async fn get_job_plan(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
) -> Result<Response, Problem> {
    let mut connection = state.connection().await?;
    let job = job::get(&mut connection, tenant, id).await?;
    let (_, Some(plan)) = job::results(&mut connection, tenant, id).await? else {
        let detail = format!("The job is {}; a job that cuts has a plan once it has succeeded.", job.status.as_str());
        return Err(Problem::new(ProblemCode::PlanNotAvailable, detail));
    };
    drop(connection);
    Ok(json(Body::from_stream(state.objects.get(&plan.sha256).await?)))
}

fn json(body: Body) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
