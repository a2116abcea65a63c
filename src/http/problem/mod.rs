//! Every refusal and failure as clients see it: an RFC 9457 problem with a stable code.
//!
//! Handlers return a [`Problem`]; [`finish`] is the one place that turns it into bytes, adds the request id and writes
//! the log line. It also dresses what frameworks answer by themselves (405, 413, 503 without a body), so that no
//! response of the service has another shape of error.

mod code;
mod origin;
mod respond;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use code::ProblemCode;
pub use respond::finish;

/// Header that carries the id of a request, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

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

    #[must_use]
    pub fn at(mut self, place: Option<String>) -> Self {
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
