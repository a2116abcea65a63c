//! `/v1/models`: artifacts that were uploaded or that jobs made.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::download::{self, Content};
use super::extract::{Id, Params, Tenant};
use super::idempotent::{IdempotencyKey, Turn, fingerprint};
use super::page::{self, Page};
use super::problem::Problem;
use super::publish::{Found, Stored, publish};
use super::responses::{ContentProblems, DeleteProblems, ModelUploadProblems, OneProblems};
use super::state::AppState;
use super::upload::{self, File, Rules};
use crate::onnx::storage::LARGEST_MESSAGE;
use crate::spec::report::Certificate;
use crate::spec::summary::ModelSummary;
use crate::store::blob::BlobRef;
use crate::store::error::StoreError;
use crate::store::model::{self, Model, NewModel};
use crate::store::tenant::TenantId;

/// The routes of models; those that take uploads apart, since they have limits of their own.
pub fn routes() -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    let quick = OpenApiRouter::new()
        .routes(routes!(list_models))
        .routes(routes!(get_model, delete_model))
        .merge(download::compressed(OpenApiRouter::new().routes(routes!(get_model_content))));
    (quick, OpenApiRouter::new().routes(routes!(create_model)))
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelBody {
    pub id: Uuid,
    /// As it was named when it was uploaded or made; not unique.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    pub size_bytes: u64,
    /// `application/octet-stream`: one ONNX file; `application/x-tar`: an archive of `model.onnx` and `model.data`, which is
    /// how a model of more than 2 GiB is kept.
    pub media_type: &'static str,
    pub created_at: DateTime<Utc>,
    /// The model that it was made from; null for an upload.
    pub parent_id: Option<Uuid>,
    /// The job that made it; null for an upload.
    pub job_id: Option<Uuid>,
    /// The step of the job that made it (0-based); null for an upload.
    pub step: Option<u32>,
    /// Proof that a pruned model computes what it should, or that a trained one runs as it should.
    pub certificate: Option<Certificate>,
    #[serde(flatten)]
    pub summary: ModelSummary,
    pub links: ModelLinks,
}

/// Where to go from a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelLinks {
    #[serde(rename = "self")]
    pub self_: String,
    pub content: String,
}

impl From<Model> for ModelBody {
    fn from(model: Model) -> Self {
        let self_ = format!("/v1/models/{}", model.id);
        let (media_type, _) = form(&model.blob);
        Self {
            id: model.id,
            name: model.name,
            sha256: model.blob.sha256,
            size_bytes: model.blob.size_bytes,
            media_type,
            created_at: model.created_at,
            parent_id: model.lineage.map(|lineage| lineage.parent_id),
            job_id: model.lineage.map(|lineage| lineage.job_id),
            step: model.lineage.map(|lineage| lineage.step),
            certificate: model.certificate,
            summary: model.summary,
            links: ModelLinks { content: format!("{self_}/content"), self_ },
        }
    }
}

/// Media type and ending of a model's file: no message is larger than protobuf's readers take, no archive smaller.
fn form(blob: &BlobRef) -> (&'static str, &'static str) {
    if blob.size_bytes > LARGEST_MESSAGE {
        ("application/x-tar", ".onnx.tar")
    } else {
        ("application/octet-stream", ".onnx")
    }
}

/// Parameters of a model upload.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ModelUploadQuery {
    /// Name of the model, 1 to 200 characters; the file's name in a form, else one made from the content.
    name: Option<String>,
}

/// A form that uploads a model.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "stands for the form in openapi.yaml; the form itself is read as a stream")]
pub struct ModelForm {
    /// The ONNX file.
    file: File,
    /// A file with external data; as many such parts as the model names files, each with the very file name that the model
    /// gives as `location`. The parts' own names do not matter.
    data: Option<File>,
}

/// Upload a model
///
/// The body is the ONNX file itself, an archive of a model as the service gives it out, or a form with the model in `file` and
/// its external data in further parts, under the file names that the model gives. What came in several files is kept as one. The model is looked into before it is taken; what
/// is unsound is refused with the place in `place`. Content that is there already is stored once.
#[utoipa::path(
    post, path = "/v1/models", tag = "models",
    params(ModelUploadQuery, ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe: it is answered as the first request was, for 24 hours.")),
    request_body(content((File = "application/octet-stream"), (ModelForm = "multipart/form-data")), description = "The ONNX file"),
    responses(
        (status = 201, description = "The model", body = ModelBody, headers(("Location" = String, description = "Path of the model"))),
        ModelUploadProblems,
    ),
)]
async fn create_model(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Params(query): Params<ModelUploadQuery>,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, Problem> {
    let _place = state.upload_place().await?;
    let received = upload::receive(&state.objects, Rules::model(&state.settings), request).await?;
    let name = upload::name(query.name, &received, "model")?;
    let data = received.data.iter().flat_map(|(name, file)| [name.as_bytes(), file.blob().sha256.as_bytes()]);
    let asked: Vec<&[u8]> = [name.as_bytes(), received.file.blob().sha256.as_bytes()].into_iter().chain(data).collect();
    let asked = fingerprint("create_model", &asked);
    let held = match key.take(&state, tenant, &asked).await? {
        Turn::CarryOut(held) => held,
        Turn::Answered(response) => return Ok(response),
    };
    let data = received.data.iter().map(|(name, file)| (name.clone(), file.path().to_owned())).collect();
    let found = state.launcher.inspect_model(received.file.path(), data, state.settings.model_limits).await?;
    let file = match found.rewritten() {
        Some(path) => state.objects.spool_file(&path).await?,
        None => received.file,
    };
    publish(state, tenant, held, name, file, found.summary).await
}

impl Found for ModelSummary {
    const KIND: &'static str = "Model";
    type Body = ModelBody;

    async fn insert(self, conn: &mut PgConnection, tenant: TenantId, stored: Stored) -> Result<ModelBody, StoreError> {
        let Stored { id, name, blob } = stored;
        let new = NewModel { id, name, blob, summary: self, lineage: None, certificate: None };
        Ok(model::insert(conn, tenant, &new).await?.into())
    }
}

/// Parameters of a list of models.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ModelListQuery {
    /// Items of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List models
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/models", tag = "models", params(ModelListQuery),
    responses((status = 200, description = "A page of models", body = Page<ModelBody>)),
)]
async fn list_models(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Params(query): Params<ModelListQuery>,
) -> Result<Json<Page<ModelBody>>, Problem> {
    let page = page::request(query.limit, query.cursor.as_deref())?;
    let rows = model::list(&mut *state.connection().await?, tenant, page).await?;
    Ok(Json(Page::of(rows, ModelBody::from)))
}

/// Read a model
#[utoipa::path(
    get, path = "/v1/models/{id}", tag = "models", params(("id" = Uuid, Path, description = "Id of the model")),
    responses((status = 200, description = "The model", body = ModelBody), OneProblems),
)]
async fn get_model(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
) -> Result<Json<ModelBody>, Problem> {
    let model = model::get(&mut *state.connection().await?, tenant, id).await?;
    Ok(Json(model.into()))
}

/// Delete a model
///
/// Refused while an unfinished job uses it. Models that were made from it stay.
#[utoipa::path(
    delete, path = "/v1/models/{id}", tag = "models", params(("id" = Uuid, Path, description = "Id of the model")),
    responses((status = 204, description = "The model is gone"), DeleteProblems),
)]
async fn delete_model(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    model::delete(&mut *state.connection().await?, tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download a model
///
/// The ONNX file, or for a model of more than 2 GiB an archive of `model.onnx` and `model.data`; `media_type` of the model says
/// which. `ETag` is its SHA-256; `Range`, `If-Range` and `If-None-Match` work, so that a broken download can be taken up
/// again. With `Accept-Encoding` the whole file comes compressed, under a tag of its own; a range is always one of the plain
/// file.
#[utoipa::path(
    get, path = "/v1/models/{id}/content", tag = "models",
    params(
        ("id" = Uuid, Path, description = "Id of the model"),
        ("Range" = Option<String>, Header, description = "One range of bytes", example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "`ETag` that the range belongs to"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of what the client has"),
        ("Accept-Encoding" = Option<String>, Header, description = "`zstd` or `gzip`", example = "zstd"),
    ),
    responses(
        (status = 200, description = "The whole file", content((File = "application/octet-stream"), (File = "application/x-tar")),
            headers(("ETag" = String, description = "SHA-256 of the file, followed by `-zstd` or `-gzip` where it is compressed"),
                ("Content-Encoding" = String, description = "`zstd` or `gzip`; absent of the plain file"), ("Content-Disposition" = String, description = "Name of the file"))),
        (status = 206, description = "The range", content((File = "application/octet-stream"), (File = "application/x-tar")),
            headers(("Content-Range" = String, description = "The range and the size of the file"))),
        (status = 304, description = "The client has it"),
        ContentProblems,
    ),
)]
async fn get_model_content(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let model = model::get(&mut *state.connection().await?, tenant, id).await?;
    let (media_type, ending) = form(&model.blob);
    let name = model.name.strip_suffix(".onnx").unwrap_or(&model.name);
    let content = Content { sha256: &model.blob.sha256, size_bytes: model.blob.size_bytes, name, ending, media_type };
    download::respond(&state.objects, &method, &headers, content).await
}
