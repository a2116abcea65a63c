//! Problems become responses, and lines of the log.

use std::error::Error;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{PROBLEM_JSON, Problem, ProblemCode, REQUEST_ID};

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
