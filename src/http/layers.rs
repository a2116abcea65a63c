//! What stands around every handler: request ids, traces, compression, problems, limits, panics, timeouts. The order is
//! the meaning: an outer layer sees what the inner ones answer.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::{Span, field};
use uuid::Uuid;

use super::problem::{Problem, ProblemCode, REQUEST_ID, finish};
use super::state::AppState;

/// Longest request id that is taken over from a client; a UUID has 36 characters.
const LONGEST_REQUEST_ID: usize = 128;
/// Bodies below this are not worth compressing.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// Dresses the whole service.
pub fn dress(router: Router) -> Router {
    let trace = TraceLayer::new_for_http()
        .make_span_with(span)
        .on_response(|response: &Response, latency: Duration, span: &Span| {
            span.record("response.status", response.status().as_u16());
            tracing::info!(response.latency_ms = latency.as_millis() as u64, "{}", response.status());
        })
        // Problems are logged where they are written.
        .on_failure(());
    // From the inside out.
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(finish))
        .layer(CompressionLayer::new().compress_when(Texts))
        .layer(trace)
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NewRequestId))
        .layer(map_request(drop_odd_request_id))
}

/// Bounds how long handlers may take until their response begins.
pub fn timeout(longest: Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, longest)
}

/// Bounds how many requests are worked on at once; one too many is told to come back, so that a crowd costs little.
pub fn bounded<S: Clone + Send + Sync + 'static>(
    router: utoipa_axum::router::OpenApiRouter<S>,
    state: AppState,
) -> utoipa_axum::router::OpenApiRouter<S> {
    router.layer(from_fn_with_state(state, within_bounds))
}

async fn within_bounds(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Ok(_place) = state.requests.try_acquire() else {
        let detail = "As many requests are under way as the service takes.";
        return Problem::new(ProblemCode::Overloaded, detail).retry_after(1).into_response();
    };
    next.run(request).await
}

/// A span with what every line of this request should carry.
fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::info_span!(
        "request",
        request.id = id,
        request.method = %request.method(),
        request.route = route,
        response.status = field::Empty
    )
}

/// A client's own request id is kept where it can stand in a log line and a JSON string as it is.
async fn drop_odd_request_id(mut request: Request) -> Request {
    let fine = |id: &HeaderValue| {
        let bytes = id.as_bytes();
        (1..=LONGEST_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    if request.headers().get(REQUEST_ID).is_some_and(|id| !fine(id)) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

#[derive(Clone, Copy)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        HeaderValue::try_from(Uuid::now_v7().to_string()).ok().map(RequestId::new)
    }
}

/// Compresses texts alone: models are downloaded in ranges and hardly shrink, a stream of events must not be held back.
#[derive(Clone, Copy)]
struct Texts;

impl Predicate for Texts {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        is_text(response.headers())
            && response.status() != StatusCode::PARTIAL_CONTENT
            && response.body().size_hint().exact().is_none_or(|size| size >= COMPRESS_FROM_BYTES)
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    matches!(kind, "application/json" | "application/problem+json" | "application/yaml" | "text/markdown")
}

/// A panic is a defect like any other: no detail for the client, its text for the log.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned());
    Problem::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::http::problem::{PROBLEM_JSON, ProblemBody};

    async fn answer(router: Router, request: axum::http::Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = dress(router).oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        (parts.status, parts.headers, body.to_vec())
    }

    fn ask(path: &str) -> axum::http::Request<Body> {
        axum::http::Request::get(path).body(Body::empty()).expect("a request")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_text() {
        async fn handler() -> StatusCode {
            panic!("secret");
        }
        let (status, headers, body) = answer(Router::new().route("/", get(handler)), ask("/")).await;
        assert_eq!(
            (status, headers[CONTENT_TYPE].as_bytes()),
            (StatusCode::INTERNAL_SERVER_ERROR, PROBLEM_JSON.as_bytes())
        );
        let body: ProblemBody = serde_json::from_slice(&body).expect("a problem");
        assert_eq!(body.request_id.as_deref(), headers[REQUEST_ID].to_str().ok());
        assert!(!format!("{body:?}").contains("secret"));
    }

    #[tokio::test]
    async fn what_a_framework_answers_is_a_problem_too() {
        let router = Router::new().route("/", get(|| async {}));
        let (_, _, body) = answer(router.clone(), ask("/nowhere")).await;
        assert_eq!(serde_json::from_slice::<ProblemBody>(&body).expect("a problem").code, ProblemCode::RouteNotFound);
        let mut request = ask("/");
        *request.method_mut() = axum::http::Method::PATCH;
        let (_, headers, body) = answer(router, request).await;
        assert_eq!(
            serde_json::from_slice::<ProblemBody>(&body).expect("a problem").code,
            ProblemCode::MethodNotAllowed
        );
        assert_eq!(headers["allow"], "GET,HEAD");
    }

    #[tokio::test]
    async fn a_response_that_takes_too_long_is_a_problem() {
        let router =
            Router::new().route("/", get(std::future::pending::<StatusCode>)).layer(timeout(Duration::from_millis(1)));
        let (status, _, body) = answer(router, ask("/")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(serde_json::from_slice::<ProblemBody>(&body).expect("a problem").code, ProblemCode::TimedOut);
    }

    #[tokio::test]
    async fn a_request_id_is_kept_or_replaced_where_it_is_odd() {
        for (sent, kept) in [("build-17", true), ("with space", false)] {
            let mut request = ask("/");
            request.headers_mut().insert(REQUEST_ID, HeaderValue::from_static(sent));
            let (_, headers, _) = answer(Router::new().route("/", get(|| async {})), request).await;
            assert_eq!(headers[REQUEST_ID] == sent, kept, "{sent}");
        }
    }

    #[tokio::test]
    async fn texts_are_compressed_and_binary_is_not() {
        for (kind, compressed) in
            [("application/json", true), ("application/octet-stream", false), ("text/event-stream", false)]
        {
            let router =
                Router::new().route("/", get(move || async move { ([(CONTENT_TYPE, kind)], "a".repeat(4096)) }));
            let mut request = ask("/");
            request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
            let (_, headers, _) = answer(router, request).await;
            assert_eq!(headers.contains_key("content-encoding"), compressed, "{kind}");
        }
    }
}
