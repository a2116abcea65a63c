//! The REST API: router, resources, problems, the contract. One file a resource.
//!
//! Knows of requests and responses, of rows and blobs, and of the launcher that looks into uploads; never of numerics, and
//! never of workers: a job that was accepted is a row, and what becomes of it is read from there.
//!
//! | file | is about |
//! | --- | --- |
//! | `models`, `datasets`, `jobs` (`job_body`, `submit`), `events`, `report`, `health` | the resources |
//! | `problem`, `responses` | errors and how they are documented |
//! | `extract`, `page`, `accept`, `prefer`, `conditional`, `idempotent` | the conventions that resources share |
//! | `upload` (`metered`), `publish`, `download`, `changes` | bytes in, bytes out, waiting for a job |
//! | `server`, `layers`, `state`, `openapi` | what stands around the handlers |

mod accept;
mod changes;
mod conditional;
mod datasets;
mod download;
mod events;
mod extract;
mod health;
mod idempotent;
mod job_body;
mod jobs;
mod layers;
mod metered;
mod models;
mod openapi;
mod page;
mod prefer;
pub mod problem;
mod publish;
mod report;
mod responses;
mod server;
mod state;
mod submit;
mod upload;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use metered::Pace;
use problem::Problem;
pub use server::serve;
pub use state::{AppState, HttpSettings};

/// The whole service as one router.
pub fn router(state: AppState) -> Router {
    let settings = state.settings.clone();
    let (quick, waiting, uploads) = resources();
    let api = quick
        .layer(layers::timeout(settings.response_time))
        .merge(waiting.layer(layers::timeout(settings.response_time + prefer::LONGEST_WAIT)))
        .layer(DefaultBodyLimit::max(settings.json_bytes))
        // Uploads count their bytes themselves, and have times of their own.
        .merge(uploads.layer(DefaultBodyLimit::disable()));
    let (router, document) = frame().merge(layers::bounded(api, state.clone())).split_for_parts();
    let yaml = openapi::yaml(&openapi::complete(document));
    let yaml: Result<Bytes, String> = yaml.map(Bytes::from).map_err(|error| error.to_string());
    let contract = get(async move || match yaml {
        Ok(yaml) => Ok(([(CONTENT_TYPE, "application/yaml")], yaml)),
        Err(error) => Err(Problem::internal(error)),
    });
    layers::dress(router.route("/openapi.yaml", contract).with_state(state))
}

/// The contract as `openapi.yaml` holds it.
///
/// Errors: a defect of the generator.
pub fn openapi_yaml() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let (quick, waiting, uploads) = resources();
    let (_, document) = frame().merge(quick).merge(waiting).merge(uploads).split_for_parts();
    openapi::yaml(&openapi::complete(document))
}

/// The resources: those that answer quickly, those that may be asked to wait, and those that take uploads.
fn resources() -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    let (models, model_uploads) = models::routes();
    let (datasets, dataset_uploads) = datasets::routes();
    let (jobs, waiting) = jobs::routes();
    (models.merge(datasets).merge(jobs), waiting, model_uploads.merge(dataset_uploads))
}

/// The document's frame, and what must answer however busy the service is.
fn frame() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .routes(routes!(health::get_livez))
        .routes(routes!(health::get_readyz))
}
