//! What an upload becomes once it has been looked into: an object in the store, a row, and the response that a repetition
//! gets too. One piece for models and datasets; each says how its row is inserted.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use super::idempotent::{self, Held};
use super::problem::Problem;
use super::state::AppState;
use crate::store::blob::{self, BlobRef};
use crate::store::error::StoreError;
use crate::store::idempotency::StoredResponse;
use crate::store::spool::Spooled;
use crate::store::tenant::TenantId;

/// What an inspection finds in an upload of one kind.
pub trait Found: Send + Sized + 'static {
    /// The kind in the log, capitalised.
    const KIND: &'static str;
    /// The resource as the API shows it.
    type Body: Serialize + Send;

    /// Inserts the row and gives the resource back as it stands.
    fn insert(
        self,
        conn: &mut PgConnection,
        tenant: TenantId,
        stored: Stored,
    ) -> impl Future<Output = Result<Self::Body, StoreError>> + Send;
}

/// An upload whose content is in the object store.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The resource that it becomes, a UUIDv7.
    pub id: Uuid,
    pub name: String,
    pub blob: BlobRef,
}

/// Stores the upload and answers. The request is carried out even where the client has gone meanwhile: the object and its
/// row belong together.
pub async fn publish<F: Found>(
    state: AppState,
    tenant: TenantId,
    held: Box<Held>,
    name: String,
    file: Spooled,
    found: F,
) -> Result<Response, Problem> {
    let storing = tokio::spawn(store(state, tenant, held, name, file, found).in_current_span()).await;
    idempotent::answer(&storing.map_err(Problem::internal)??)
}

async fn store<F: Found>(
    state: AppState,
    tenant: TenantId,
    held: Box<Held>,
    name: String,
    file: Spooled,
    found: F,
) -> Result<StoredResponse, Problem> {
    let mut connection = state.connection().await?;
    let blob = blob::store(&mut connection, &state.objects, file).await?;
    drop(connection);
    let (id, size_bytes) = (Uuid::now_v7(), blob.size_bytes);
    let mut transaction = state.database.pool().begin().await?;
    let body = found.insert(&mut transaction, tenant, Stored { id, name: name.clone(), blob }).await?;
    let response = idempotent::created(StatusCode::CREATED, &body)?;
    held.complete(&mut transaction, &response).await?;
    transaction.commit().await?;
    held.committed();
    tracing::info!(upload.id = %id, upload.size_bytes = size_bytes, "{} `{name}` uploaded", F::KIND);
    Ok(response)
}
