//! `/v1/datasets`: labelled data that jobs retrain, evaluate and compare on.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::{Id, Params, Tenant};
use super::idempotent::{IdempotencyKey, Turn, fingerprint};
use super::page::{self, Page};
use super::problem::{Problem, ProblemCode, ProblemItem};
use super::publish::{Found, Stored, publish};
use super::responses::{DatasetUploadProblems, DeleteProblems, OneProblems};
use super::state::AppState;
use super::upload::{self, File, Received, Rules};
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::DatasetSummary;
use crate::store::dataset::{self, Dataset, NewDataset};
use crate::store::error::StoreError;
use crate::store::tenant::TenantId;

/// The routes of datasets; those that take uploads apart, since they have limits of their own.
pub fn routes() -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    let quick = OpenApiRouter::new().routes(routes!(list_datasets)).routes(routes!(get_dataset, delete_dataset));
    (quick, OpenApiRouter::new().routes(routes!(create_dataset)))
}

/// A dataset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Dataset)]
pub struct DatasetBody {
    pub id: Uuid,
    /// As it was named when it was uploaded; not unique.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    pub size_bytes: u64,
    pub created_at: DateTime<Utc>,
    #[serde(flatten)]
    pub summary: DatasetSummary,
    pub links: DatasetLinks,
}

/// Where to go from a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetLinks {
    #[serde(rename = "self")]
    pub self_: String,
}

impl From<Dataset> for DatasetBody {
    fn from(dataset: Dataset) -> Self {
        Self {
            links: DatasetLinks { self_: format!("/v1/datasets/{}", dataset.id) },
            id: dataset.id,
            name: dataset.name,
            sha256: dataset.blob.sha256,
            size_bytes: dataset.blob.size_bytes,
            created_at: dataset.created_at,
            summary: dataset.summary,
        }
    }
}

/// Parameters of a dataset upload.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DatasetUploadQuery {
    /// Name of the dataset, 1 to 200 characters; the file's name in a form, else one made from the content.
    name: Option<String>,
    /// The `Preprocess` object as JSON, for a body that is the file itself; in a form it is the field `preprocess`.
    #[param(example = r#"{"size":[32,32],"mean":[0.49,0.48,0.45],"std":[0.25,0.24,0.26]}"#)]
    preprocess: Option<String>,
}

/// A form that uploads a dataset.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "stands for the form in openapi.yaml; the form itself is read as a stream")]
pub struct DatasetForm {
    /// The file.
    file: File,
    preprocess: Option<Preprocess>,
}

/// Upload a dataset
///
/// A `.npz` whose arrays are named after the model's inputs (the only one may have any name), with labels in `labels` or
/// `y`; or a `.zip` of one folder of images for each class, which needs `preprocess`. The body is the file itself, or a
/// form with the file in `file`.
#[utoipa::path(
    post, path = "/v1/datasets", tag = "datasets",
    params(DatasetUploadQuery, ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe: it is answered as the first request was, for 24 hours.")),
    request_body(content((File = "application/octet-stream"), (DatasetForm = "multipart/form-data")), description = "The dataset"),
    responses(
        (status = 201, description = "The dataset", body = DatasetBody, headers(("Location" = String, description = "Path of the dataset"))),
        DatasetUploadProblems,
    ),
)]
async fn create_dataset(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Params(query): Params<DatasetUploadQuery>,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, Problem> {
    // What stands in the query is checked before the first byte is taken.
    let mut preprocess = query.preprocess.as_deref().map(|json| read_preprocess(json.as_bytes())).transpose()?;
    let _place = state.upload_place().await?;
    let received = upload::receive(&state.objects, Rules::dataset(&state.settings), request).await?;
    if let Some(of_form) = preprocess_field(&received)?
        && preprocess.replace(of_form).is_some()
    {
        return Err(Problem::parameter("preprocess", "stands in the query and in the form; send it once"));
    }
    let name = upload::name(query.name, &received, "dataset")?;
    let preprocess_json = serde_json::to_vec(&preprocess).map_err(Problem::internal)?;
    let asked =
        fingerprint("create_dataset", &[name.as_bytes(), &preprocess_json, received.file.blob().sha256.as_bytes()]);
    let held = match key.take(&state, tenant, &asked).await? {
        Turn::CarryOut(held) => held,
        Turn::Answered(response) => return Ok(response),
    };
    let limits = state.settings.dataset_limits;
    let summary = state.launcher.inspect_dataset(received.file.path(), preprocess, limits).await?;
    publish(state, tenant, held, name, received.file, summary).await
}

fn preprocess_field(received: &Received) -> Result<Option<Preprocess>, Problem> {
    received.fields.iter().find(|(name, _)| name == "preprocess").map(|(_, json)| read_preprocess(json)).transpose()
}

fn read_preprocess(json: &[u8]) -> Result<Preprocess, Problem> {
    let preprocess: Preprocess = upload::json_field("preprocess", json)?;
    match preprocess.defect() {
        None => Ok(preprocess),
        Some((field, detail)) => {
            let item = ProblemItem { pointer: None, parameter: Some(format!("preprocess/{field}")), detail };
            Err(Problem::pointing(ProblemCode::InvalidRequest, vec![item]))
        }
    }
}

impl Found for DatasetSummary {
    const KIND: &'static str = "Dataset";
    type Body = DatasetBody;

    async fn insert(
        self,
        conn: &mut PgConnection,
        tenant: TenantId,
        stored: Stored,
    ) -> Result<DatasetBody, StoreError> {
        let Stored { id, name, blob } = stored;
        let new = NewDataset { id, name, blob, summary: self };
        Ok(dataset::insert(conn, tenant, &new).await?.into())
    }
}

/// Parameters of a list of datasets.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DatasetListQuery {
    /// Items of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List datasets
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/datasets", tag = "datasets", params(DatasetListQuery),
    responses((status = 200, description = "A page of datasets", body = Page<DatasetBody>)),
)]
async fn list_datasets(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Params(query): Params<DatasetListQuery>,
) -> Result<Json<Page<DatasetBody>>, Problem> {
    let page = page::request(query.limit, query.cursor.as_deref())?;
    let rows = dataset::list(&mut *state.connection().await?, tenant, page).await?;
    Ok(Json(Page::of(rows, DatasetBody::from)))
}

/// Read a dataset
#[utoipa::path(
    get, path = "/v1/datasets/{id}", tag = "datasets", params(("id" = Uuid, Path, description = "Id of the dataset")),
    responses((status = 200, description = "The dataset", body = DatasetBody), OneProblems),
)]
async fn get_dataset(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
) -> Result<Json<DatasetBody>, Problem> {
    let dataset = dataset::get(&mut *state.connection().await?, tenant, id).await?;
    Ok(Json(dataset.into()))
}

/// Delete a dataset
///
/// Refused while an unfinished job uses it.
#[utoipa::path(
    delete, path = "/v1/datasets/{id}", tag = "datasets", params(("id" = Uuid, Path, description = "Id of the dataset")),
    responses((status = 204, description = "The dataset is gone"), DeleteProblems),
)]
async fn delete_dataset(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    dataset::delete(&mut *state.connection().await?, tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
