//! Every refusal and failure as clients see it: an RFC 9457 problem with a stable code.
//!
//! Handlers return a [`Problem`]; [`finish`] is the one place that turns it into bytes, adds the request id and writes
//! the log line. It also dresses what frameworks answer by themselves (405, 413, 503 without a body), so that no
//! response of the service has another shape of error.

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::queue::QueueError;
use crate::spec::failure::{Failure, FailureCode};
use crate::store::error::StoreError;

/// Header that carries the id of a request, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

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

            fn title(self) -> &'static str {
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
    /// The uploaded dataset cannot be read; `place` names the entry.
    InvalidDataset = "invalid_dataset", UNPROCESSABLE_ENTITY, "The dataset cannot be read";
    /// The spec cannot be carried out on this model; `errors` points to the field.
    InvalidSpec = "invalid_spec", UNPROCESSABLE_ENTITY, "The spec cannot be carried out";
    /// Dataset and model do not fit together; `errors` points to the dataset.
    DatasetMismatch = "dataset_mismatch", UNPROCESSABLE_ENTITY, "Dataset and model do not fit together";
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

/// One place in a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemItem {
    /// JSON pointer into the body, where the place is in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Name of the parameter, where the place is in the path or the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong there.
    pub detail: String,
}

/// A problem as it is written (RFC 9457), media type `application/problem+json`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:secateur:problem:invalid_spec",
    "title": "The spec cannot be carried out",
    "status": 422,
    "code": "invalid_spec",
    "detail": "/spec/target: must be a share between 0 and 1, is 1.5",
    "request_id": "5f0c4cf6-6f0d-4f8e-9f0e-0d1c2b3a4f5e",
    "errors": [{"pointer": "/spec/target", "detail": "must be a share between 0 and 1, is 1.5"}],
}))]
pub struct ProblemBody {
    /// `urn:secateur:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    pub status: u16,
    pub code: ProblemCode,
    /// What is wrong with this request and what can be done about it.
    pub detail: String,
    /// Id of the request, as in the header `x-request-id` and in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where in the upload: a node, tensor or archive entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Where in the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
}

/// A refusal or failure on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: ProblemCode,
    detail: String,
    place: Option<String>,
    errors: Vec<ProblemItem>,
    headers: HeaderMap,
    /// For the log only.
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem with a sentence for the user.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            place: None,
            errors: Vec::new(),
            headers: HeaderMap::new(),
            source: None,
        }))
    }

    /// A defect of the service: the client learns nothing but the request id.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ProblemCode::Internal, "The request id leads to the details in the service's log.").caused_by(source)
    }

    /// A query parameter or path segment that cannot be.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let item = ProblemItem { pointer: None, parameter: Some(name.to_owned()), detail: detail.clone() };
        Self::new(ProblemCode::InvalidParameter, format!("{name}: {detail}")).with_errors(vec![item])
    }

    /// Places in the body, the first of which makes the sentence.
    pub fn pointing(code: ProblemCode, errors: Vec<ProblemItem>) -> Self {
        let detail = errors.first().map(|item| match item.pointer.as_deref() {
            Some(pointer) if !pointer.is_empty() => format!("{pointer}: {}", item.detail),
            _ => item.detail.clone(),
        });
        Self::new(code, detail.unwrap_or_default()).with_errors(errors)
    }

    /// The same problem with its cause, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The same problem with a response header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same problem, to be tried again after some seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The reason.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.0.code
    }

    fn with_errors(mut self, errors: Vec<ProblemItem>) -> Self {
        self.0.errors = errors;
        self
    }

    fn at(mut self, place: Option<String>) -> Self {
        self.0.place = place;
        self
    }

    /// The problem as it is written.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>) -> ProblemBody {
        let code = self.0.code;
        ProblemBody {
            kind: format!("urn:secateur:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            code,
            detail: self.0.detail.clone(),
            request_id: request_id.map(str::to_owned),
            place: self.0.place.clone(),
            errors: self.0.errors.clone(),
        }
    }
}

impl ProblemItem {
    /// A place in the body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }
}

/// An upload that the inspecting child refused, or died of.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            FailureCode::InvalidModel => ProblemCode::InvalidModel,
            FailureCode::InvalidDataset => ProblemCode::InvalidDataset,
            FailureCode::InvalidSpec => ProblemCode::InvalidSpec,
            FailureCode::DatasetMismatch => ProblemCode::DatasetMismatch,
            FailureCode::Unsupported => ProblemCode::Unsupported,
            FailureCode::StorageFull => ProblemCode::StorageFull,
            FailureCode::OutOfMemory | FailureCode::RuntimeCrash | FailureCode::DeadlineExceeded => {
                ProblemCode::InspectionFailed
            }
            FailureCode::WorkerLost | FailureCode::Cancelled => ProblemCode::Unavailable,
            FailureCode::TargetUnreachable
            | FailureCode::CertificateFailed
            | FailureCode::Diverged
            | FailureCode::WorkerCrashed
            | FailureCode::EngineUnavailable
            | FailureCode::Internal => return Self::internal(failure),
        };
        let place = failure.place.clone();
        let detail = failure.message.clone();
        Self::new(code, detail).at(place).caused_by(failure)
    }
}

/// What the store says, told apart by whose fault it is: the client's, the moment's, or ours.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, id } => Self::new(ProblemCode::NotFound, format!("There is no {what} {id}.")),
            StoreError::InUse { what, id } => Self::new(
                ProblemCode::InUse,
                format!("An unfinished job uses the {what} {id}; cancel the job or wait for its end."),
            ),
            StoreError::StorageFull { .. } => {
                Self::new(ProblemCode::StorageFull, "There is no room left for this; nothing was stored.")
                    .caused_by(error)
            }
            StoreError::KeyTakenOver => Self::new(
                ProblemCode::IdempotencyKeyInFlight,
                "The request took so long that a repetition of it was begun; that one will be answered.",
            ),
            StoreError::Database(error) => error.into(),
            StoreError::Object(_) | StoreError::NotMigrated { .. } => {
                Self::new(ProblemCode::Unavailable, "Try again.").caused_by(error).retry_after(5)
            }
            StoreError::BlobMissing { .. }
            | StoreError::ObjectMissing { .. }
            | StoreError::FileChanged { .. }
            | StoreError::ServerTooOld { .. }
            | StoreError::Io { .. }
            | StoreError::Migrate(_)
            | StoreError::Json(_) => Self::internal(error),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Store(error) => error.into(),
            QueueError::InputMissing { .. } => Self::new(ProblemCode::ReferenceNotFound, format!("{error}.")),
            QueueError::LeaseLost { .. } => Self::internal(error),
        }
    }
}

/// A database that is away or busy is a matter of time; everything else that it says is a defect of ours.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let away = match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            // Classes 57 (shutdown, crash) and 53 (no connections, memory or disk left).
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| code.starts_with("57") || code.starts_with("53"))
            }
            _ => false,
        };
        if away {
            Self::new(ProblemCode::Unavailable, "Try again.").caused_by(error).retry_after(5)
        } else {
            Self::internal(error)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes problems out: those of handlers, and the bare errors of frameworks. The outermost layer but for request ids
/// and traces.
pub async fn finish(request: Request, next: Next) -> Response {
    let request_id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let mut response = next.run(request).await;
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None => match bare(&response) {
            Some(problem) => problem,
            None => return response,
        },
    };
    log(&problem);
    let body = serde_json::to_vec(&problem.body(request_id.as_deref())).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.remove(CONTENT_LENGTH);
    headers.extend(problem.0.headers);
    *response.body_mut() = Body::from(body);
    response
}

/// The problem for an error that a framework answered without one.
fn bare(response: &Response) -> Option<Problem> {
    let (code, detail) = match response.status() {
        StatusCode::NOT_FOUND => (ProblemCode::RouteNotFound, "openapi.yaml lists the paths of this service."),
        StatusCode::METHOD_NOT_ALLOWED => (ProblemCode::MethodNotAllowed, "The header `Allow` lists what it takes."),
        StatusCode::PAYLOAD_TOO_LARGE => (ProblemCode::BodyTooLarge, "Send a smaller body."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (ProblemCode::UnsupportedMediaType, "openapi.yaml lists the types."),
        StatusCode::UNPROCESSABLE_ENTITY => (ProblemCode::InvalidRequest, "The request cannot be read."),
        StatusCode::SERVICE_UNAVAILABLE => (ProblemCode::TimedOut, "Try again."),
        status if status.is_client_error() => (ProblemCode::InvalidBody, "The request cannot be read."),
        status if status.is_server_error() => (ProblemCode::Internal, "The request id leads to the log."),
        _ => return None,
    };
    Some(Problem::new(code, detail))
}

/// One line for each problem: defects as errors with their chain of causes, the rest as what it is, news.
fn log(problem: &Problem) {
    let code = problem.0.code;
    let mut cause = String::new();
    let mut source: Option<&dyn Error> = problem.0.source.as_deref().map(|error| error as &dyn Error);
    while let Some(error) = source {
        if !cause.is_empty() {
            cause.push_str(": ");
        }
        cause.push_str(&error.to_string());
        source = error.source();
    }
    if code.status().is_server_error() {
        tracing::error!(problem.code = code.as_str(), error = cause, "Request failed: {}", code.title());
    } else {
        tracing::info!(problem.code = code.as_str(), "Request refused: {}", problem.0.detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_the_same_in_json_and_in_code() {
        for code in ProblemCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("plain data"), code.as_str());
        }
    }

    #[test]
    fn a_defect_tells_the_client_nothing_of_its_cause() {
        let body = serde_json::to_string(&Problem::internal("password=hunter2").body(Some("r1"))).expect("plain data");
        assert!(!body.contains("hunter2") && body.contains("r1"), "{body}");
    }

    #[test]
    fn a_failure_keeps_its_code_and_place() {
        let failure =
            Failure::new(FailureCode::InvalidModel, "input `w` of node `conv1` is made by nothing").at("conv1");
        let body = Problem::from(failure).body(None);
        assert_eq!((body.status, body.code, body.place.as_deref()), (422, ProblemCode::InvalidModel, Some("conv1")));
    }
}
