//! What an error on the worker's side means for the job.

use std::io;

use crate::spec::failure::{Failure, FailureCode};
use crate::store::error::StoreError;

/// The failure that a job ends its attempt with when its worker could not do its part.
///
/// A full disk fails the job, which the user has to know of; anything else (the object store or the file system fails)
/// may be different at the next try: the attempt counts as lost with its worker, and the cap on those ends a loop.
pub(super) fn failure_of(error: &anyhow::Error) -> Failure {
    let full = error.chain().any(|cause| {
        cause.downcast_ref::<StoreError>().is_some_and(|error| matches!(error, StoreError::StorageFull { .. }))
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    });
    if full {
        Failure::new(FailureCode::StorageFull, "no room is left on the worker's disk or in the object store")
    } else {
        Failure::new(FailureCode::WorkerLost, format!("the worker could not do its part: {error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_full_disk_is_seen_through_any_context() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull)).context("copying").context("preparing");
        assert_eq!(failure_of(&error.unwrap_err()).code, FailureCode::StorageFull);
        let error = Err::<(), _>(StoreError::StorageFull { path: "/objects".into() }).context("storing a model");
        assert_eq!(failure_of(&error.unwrap_err()).code, FailureCode::StorageFull);
    }

    #[test]
    fn other_trouble_is_worth_another_try() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied)).context("copying");
        assert_eq!(failure_of(&error.unwrap_err()).code, FailureCode::WorkerLost);
    }
}
