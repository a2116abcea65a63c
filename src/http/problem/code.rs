//! The stable codes of problems, each with its status and title.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! problem_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// Why a request was not carried out; stable across releases. A job that failed has its own list in `error.code`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProblemCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it stands in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The status that goes with the code.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            pub(super) fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

problem_codes! {
    /// The body is not JSON, or not complete.
    InvalidJson = "invalid_json", BAD_REQUEST, "The body is not valid JSON";
    /// A body could not be read: the connection broke, or a multipart form is malformed.
    InvalidBody = "invalid_body", BAD_REQUEST, "The body cannot be read";
    /// A query parameter or path segment cannot be; `errors` names it.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A parameter cannot be";
    /// A header cannot be; `detail` names it.
    InvalidHeader = "invalid_header", BAD_REQUEST, "A header cannot be";
    /// There is no such model, dataset or job.
    NotFound = "not_found", NOT_FOUND, "There is no such resource";
    /// There is no such path.
    RouteNotFound = "route_not_found", NOT_FOUND, "There is no such path";
    /// The job has no report: it has not succeeded (yet).
    ReportNotAvailable = "report_not_available", NOT_FOUND, "The job has no report";
    /// The job has no plan: it has not succeeded (yet), or cuts nothing.
    PlanNotAvailable = "plan_not_available", NOT_FOUND, "The job has no plan";
    /// The path does not take this method; `Allow` lists those that it takes.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The path does not take this method";
    /// None of the types in `Accept` can be had.
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "None of the accepted types can be had";
    /// The body did not arrive in time.
    UploadTimedOut = "upload_timed_out", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// The model or dataset is used by a job that has not finished.
    InUse = "in_use", CONFLICT, "An unfinished job uses it";
    /// The first request with this `Idempotency-Key` is still being carried out.
    IdempotencyKeyInFlight = "idempotency_key_in_flight", CONFLICT, "The same request is being carried out";
    /// The body is larger than the server takes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body's type is not one that this path takes.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body's type is not supported";
    /// The range lies outside of the content.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "The range lies outside of the content";
    /// A field of the body is missing, unknown or has a value that cannot be; `errors` points to it.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, "The request cannot be carried out";
    /// The request names a model or dataset that does not exist; `errors` points to it.
    ReferenceNotFound = "reference_not_found", UNPROCESSABLE_ENTITY, "The request names something that does not exist";
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The key was used for another request";
    /// The uploaded model is not sound; `place` names the node or tensor.
    InvalidModel = "invalid_model", UNPROCESSABLE_ENTITY, "The model is not sound";
    /// The data files beside an uploaded model do not fit it: missing, unused, there twice, too short, or with a name that
    /// is not that of a file beside the model; `place` names the tensor or file.
    ExternalData = "external_data", UNPROCESSABLE_ENTITY, "Model and data files do not fit together";
    /// The uploaded dataset cannot be read; `place` names the entry.
    InvalidDataset = "invalid_dataset", UNPROCESSABLE_ENTITY, "The dataset cannot be read";
    /// The spec cannot be carried out on this model; `errors` points to the field.
    InvalidSpec = "invalid_spec", UNPROCESSABLE_ENTITY, "The spec cannot be carried out";
    /// Dataset and model do not fit together; `errors` points to the dataset.
    DatasetMismatch = "dataset_mismatch", UNPROCESSABLE_ENTITY, "Dataset and model do not fit together";
    /// A step asks for something that needs a dataset, and none is named; `errors` points to where it is missing.
    DatasetRequired = "dataset_required", UNPROCESSABLE_ENTITY, "The job needs a dataset";
    /// Something in the upload is beyond what the service can do; `place` names it.
    Unsupported = "unsupported", UNPROCESSABLE_ENTITY, "The upload uses something that is not supported";
    /// The upload could not be looked into within the memory or time that an inspection may take.
    InspectionFailed = "inspection_failed", UNPROCESSABLE_ENTITY, "The upload could not be looked into";
    /// A defect of the service; the log has the details under the request id.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong in the service";
    /// The database or the object store does not answer.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The service cannot reach its database or store";
    /// The service has as many requests or uploads as it takes at once; try again after `Retry-After`.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "The service is busy";
    /// The answer took too long.
    TimedOut = "timed_out", SERVICE_UNAVAILABLE, "The answer took too long";
    /// There is no room on the disk or in the object store.
    StorageFull = "storage_full", INSUFFICIENT_STORAGE, "There is no room left";
}
