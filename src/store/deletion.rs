//! What a deletion of a resource came to. Models and datasets have it in common.

use sqlx::postgres::PgQueryResult;
use uuid::Uuid;

use super::error::{Resource, StoreError};

/// Errors: `InUse` where the foreign key `constraint` of an unfinished job held the row, `NotFound` where there was none.
pub(super) fn outcome(
    deleted: Result<PgQueryResult, sqlx::Error>,
    constraint: &str,
    what: Resource,
    id: Uuid,
) -> Result<(), StoreError> {
    match deleted {
        Ok(deleted) if deleted.rows_affected() == 0 => Err(StoreError::NotFound { what, id }),
        Ok(_) => Ok(()),
        Err(error) if StoreError::violates(&error, constraint) => Err(StoreError::InUse { what, id }),
        Err(error) => Err(error.into()),
    }
}
