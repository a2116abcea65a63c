//! `/livez` and `/readyz`: whether the process runs, and whether it can do its work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Problem, ProblemCode};
use super::responses::ReadyProblems;
use super::state::AppState;
use crate::store::error::StoreError;

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`; what is not well is answered with a problem.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Version of the program.
    pub version: &'static str,
}

const WELL: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// Say whether the process runs
///
/// Looks at nothing else: restarting the process cures what this finds.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "It runs", body = Health)))]
pub async fn get_livez() -> Json<Health> {
    Json(WELL)
}

/// Say whether requests can be served
///
/// Looks at the database, its migrations and the object store.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, description = "They can", body = Health), ReadyProblems),
)]
pub async fn get_readyz(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    state.database.ready().await.map_err(|error| {
        let detail = match &error {
            // Its text names versions and the command that helps, no secrets.
            StoreError::NotMigrated { .. } => error.to_string(),
            _ => "The database does not answer.".to_owned(),
        };
        Problem::new(ProblemCode::Unavailable, detail).caused_by(error)
    })?;
    // An empty file, gone at once: the store can be written to.
    state.objects.spool().await.map_err(|error| match error {
        full @ StoreError::StorageFull { .. } => Problem::from(full),
        other => Problem::new(ProblemCode::Unavailable, "The object store cannot be written to.").caused_by(other),
    })?;
    Ok(Json(WELL))
}
