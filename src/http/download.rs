//! Content from the object store as a response: streamed, with a strong ETag, in parts or compressed where the client asks.
//!
//! A part is always one of the plain content. What is compressed has an ETag of its own and no parts: it is made anew each
//! time.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

use super::conditional::{Answer, decide};
use super::problem::{Problem, ProblemCode};
use crate::store::object::Objects;

/// Content that a client may fetch.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    pub sha256: &'a str,
    pub size_bytes: u64,
    /// Name of the file that a browser saves, without an ending.
    pub name: &'a str,
    /// The ending, with its dot.
    pub ending: &'a str,
    pub media_type: &'static str,
}

/// Answers a GET or HEAD of `content`.
pub async fn respond(
    objects: &Objects,
    method: &Method,
    headers: &HeaderMap,
    content: Content<'_>,
) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", content.sha256);
    let answer = decide(method, headers, &etag, content.size_bytes);
    // Who has it compressed has it too, and is told so under the tag that was given.
    let compressed = ENCODINGS.map(|encoding| coded(&etag, encoding));
    let known =
        compressed.into_iter().find(|tag| decide(method, headers, tag, content.size_bytes) == Answer::NotModified);
    let (answer, etag) = match (&answer, known) {
        (Answer::NotModified, _) | (_, None) => (answer, etag),
        (_, Some(known)) => (Answer::NotModified, known),
    };
    // Lower-case hex and quotes are always a header value.
    let etag = HeaderValue::try_from(etag).map_err(Problem::internal)?;
    let mut response = match &answer {
        Answer::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Answer::NotSatisfiable => {
            let range = HeaderValue::try_from(format!("bytes */{}", content.size_bytes)).map_err(Problem::internal)?;
            let detail = format!("The content has {} bytes.", content.size_bytes);
            return Err(Problem::new(ProblemCode::RangeNotSatisfiable, detail).with_header(CONTENT_RANGE, range));
        }
        Answer::Full | Answer::Part(_) if method == Method::HEAD => {
            described(&content, content.size_bytes, Body::empty())
        }
        Answer::Full => described(&content, content.size_bytes, Body::from_stream(objects.get(content.sha256).await?)),
        Answer::Part(range) => {
            let body = Body::from_stream(objects.get_range(content.sha256, range.clone()).await?);
            let mut response = described(&content, range.end - range.start, body);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, content.size_bytes);
            response.headers_mut().insert(CONTENT_RANGE, HeaderValue::try_from(text).map_err(Problem::internal)?);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Content behind an id never changes, but whether one may still read it does.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if answer != Answer::NotModified {
        let disposition = attachment(content.name, content.ending);
        headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(Problem::internal)?);
    }
    Ok(response)
}

fn described(content: &Content<'_>, size_bytes: u64, body: Body) -> Response {
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static(content.media_type)), (CONTENT_LENGTH, HeaderValue::from(size_bytes))];
    (headers, body).into_response()
}

/// Compresses whole downloads of the inner routes by `Accept-Encoding`.
pub fn compressed<S: Clone + Send + Sync + 'static>(
    router: utoipa_axum::router::OpenApiRouter<S>,
) -> utoipa_axum::router::OpenApiRouter<S> {
    router.layer(CompressionLayer::new().compress_when(Whole)).layer(map_response(name_the_coding))
}

/// Compressions that are offered.
const ENCODINGS: [&str; 2] = ["zstd", "gzip"];

/// Bodies below this are not worth compressing; those above keep a thread that answers requests busy for too long.
const COMPRESS_FROM_BYTES: u64 = 1024;
const COMPRESS_TO_BYTES: u64 = 1 << 30;

/// Whether content of a size is compressed.
fn is_compressed(size_bytes: u64) -> bool {
    (COMPRESS_FROM_BYTES..=COMPRESS_TO_BYTES).contains(&size_bytes)
}

/// Whole content alone: a range counts bytes of the plain file.
#[derive(Clone, Copy)]
struct Whole;

impl Predicate for Whole {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        response.status() == StatusCode::OK
            && response.headers().contains_key(ETAG)
            && response.headers().get(CONTENT_LENGTH).is_some()
            && response.body().size_hint().exact().is_none_or(is_compressed)
    }
}

/// Other bytes need another strong tag.
async fn name_the_coding(mut response: Response) -> Response {
    let coding = response.headers().get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()).map(str::to_owned);
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    if let (Some(coding), Some(tag)) = (coding, tag)
        && let Ok(tag) = HeaderValue::try_from(coded(&tag, &coding))
    {
        response.headers_mut().insert(ETAG, tag);
        response.headers_mut().remove(ACCEPT_RANGES);
    }
    response
}

/// The tag of the same content in a coding.
fn coded(etag: &str, coding: &str) -> String {
    format!("{}-{coding}\"", etag.trim_end_matches('"'))
}

/// `Content-Disposition` (RFC 6266): a plain name for old clients, the true one in UTF-8 beside it.
fn attachment(name: &str, ending: &str) -> String {
    let mut file: String =
        name.chars().map(|c| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c }).collect();
    if !file.ends_with(ending) {
        file.push_str(ending);
    }
    let plain: String = file
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '%') || c == ' ' { c } else { '_' })
        .collect();
    if plain == file {
        return format!("attachment; filename=\"{plain}\"");
    }
    let encoded: String = file
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_file_name_and_nothing_else() {
        assert_eq!(attachment("resnet20", ".onnx"), "attachment; filename=\"resnet20.onnx\"");
        assert_eq!(attachment("resnet20.onnx", ".onnx"), "attachment; filename=\"resnet20.onnx\"");
        assert_eq!(attachment("../a\r\nb", ".onnx"), "attachment; filename=\".._a__b.onnx\"");
        assert_eq!(
            attachment("süß \"1\"", ".onnx"),
            "attachment; filename=\"s__ _1_.onnx\"; filename*=UTF-8''s%C3%BC%C3%9F%20%221%22.onnx"
        );
    }
}
