//! The problems that an operation documents, made from the codes that it can answer with, so that `openapi.yaml` says of
//! each status which codes stand behind it.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::problem::{PROBLEM_JSON, ProblemCode};

macro_rules! problem_sets {
    ($($(#[$doc:meta])+ $name:ident: $($code:ident),+;)+) => {
        $(
            $(#[$doc])+
            #[derive(Debug)]
            pub enum $name {}

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    documented(&[$(ProblemCode::$code),+])
                }
            }
        )+
    };
}

problem_sets! {
    /// Of every operation, added to each when the document is put together.
    AnyProblems: InvalidParameter, InvalidHeader, Internal, Unavailable, Overloaded, TimedOut;
    /// Of `/readyz`.
    ReadyProblems: Unavailable, StorageFull;
    /// Of operations on one resource.
    OneProblems: NotFound;
    /// Of deletions.
    DeleteProblems: NotFound, InUse;
    /// Of downloads.
    ContentProblems: NotFound, RangeNotSatisfiable;
    /// Of reports.
    ReportProblems: NotFound, ReportNotAvailable, NotAcceptable;
    /// Of plans.
    PlanProblems: NotFound, PlanNotAvailable;
    /// Of events.
    EventProblems: NotFound, NotAcceptable;
    /// Of model uploads.
    ModelUploadProblems: InvalidBody, UploadTimedOut, IdempotencyKeyInFlight, IdempotencyKeyReused, BodyTooLarge,
        UnsupportedMediaType, InvalidModel, ExternalData, Unsupported, InspectionFailed, StorageFull;
    /// Of dataset uploads.
    DatasetUploadProblems: InvalidBody, UploadTimedOut, IdempotencyKeyInFlight, IdempotencyKeyReused, BodyTooLarge,
        UnsupportedMediaType, InvalidRequest, InvalidDataset, Unsupported, InspectionFailed, StorageFull;
    /// Of job submissions.
    JobProblems: InvalidJson, InvalidBody, IdempotencyKeyInFlight, IdempotencyKeyReused, BodyTooLarge,
        UnsupportedMediaType, InvalidRequest, InvalidSpec, ReferenceNotFound, DatasetMismatch, DatasetRequired;
}

/// One response a status, its codes listed.
pub fn documented(codes: &[ProblemCode]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(code.as_str());
    }
    by_status
        .into_iter()
        .map(|(status, codes)| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let codes = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
            let response = ResponseBuilder::new().description(codes).content(PROBLEM_JSON, content).build();
            (status.to_string(), RefOr::T(response))
        })
        .collect()
}
