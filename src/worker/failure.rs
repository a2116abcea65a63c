//! What an error on the worker's side means for the job.

use std::io;

use crate::queue::QueueError;
use crate::spec::failure::{Failure, FailureCode};
use crate::store::error::StoreError;

/// The failure that a job ends its attempt with when its worker could not do its part.
///
/// A full disk fails the job, which the user has to know of; anything else (the object store or the file system fails)
/// may be different at the next try: the attempt counts as lost with its worker, and the cap on those ends a loop.
pub(super) fn failure_of(error: &anyhow::Error) -> Failure {
    if error.chain().any(tells_of_a_full_disk) {
        Failure::new(
            FailureCode::StorageFull,
            "no room is left on the worker's disk, in the object store or in the database",
        )
    } else {
        Failure::new(FailureCode::WorkerLost, format!("the worker could not do its part: {error:#}"))
    }
}

fn tells_of_a_full_disk(cause: &(dyn std::error::Error + 'static)) -> bool {
    // The queue's error of the store is transparent: the store's own is not among the causes.
    let of_store = match cause.downcast_ref::<QueueError>() {
        Some(QueueError::Store(error)) => Some(error),
        _ => cause.downcast_ref::<StoreError>(),
    };
    if matches!(of_store, Some(StoreError::StorageFull { .. })) {
        return true;
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    }
    cause.downcast_ref::<sqlx::Error>().is_some_and(StoreError::is_disk_full)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::store::error::SqlState;

    #[test]
    fn a_full_disk_is_seen_through_any_context() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull)).context("copying").context("preparing");
        assert_eq!(failure_of(&error.unwrap_err()).code, FailureCode::StorageFull);
        let store = || StoreError::StorageFull { path: "/objects".into() };
        let error = Err::<(), _>(store()).context("storing a model");
        assert_eq!(failure_of(&error.unwrap_err()).code, FailureCode::StorageFull);
        assert_eq!(failure_of(&QueueError::Store(store()).into()).code, FailureCode::StorageFull);
    }

    #[test]
    fn a_full_disk_of_the_database_is_one() {
        let error = anyhow::Error::from(QueueError::from(SqlState::error("53100")));
        assert_eq!(failure_of(&error).code, FailureCode::StorageFull);
        let error = anyhow::Error::from(StoreError::from(SqlState::error("53100"))).context("storing a model");
        assert_eq!(failure_of(&error).code, FailureCode::StorageFull);
        let busy = anyhow::Error::from(QueueError::from(SqlState::error("53300")));
        assert_eq!(failure_of(&busy).code, FailureCode::WorkerLost);
    }

    #[test]
    fn other_trouble_is_worth_another_try() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied)).context("copying");
        assert_eq!(failure_of(&error.unwrap_err()).code, FailureCode::WorkerLost);
    }
}
