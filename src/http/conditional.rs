//! What a GET of immutable content is answered with: all of it, a part, or nothing, by `If-None-Match`, `Range` and
//! `If-Range` (RFC 9110, sections 13 and 14). Pure: headers in, decision out.

use std::ops::Range;

use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, Method};

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 with everything.
    Full,
    /// 206 with these bytes; never empty.
    Part(Range<u64>),
    /// 304: the client has it.
    NotModified,
    /// 416.
    NotSatisfiable,
}

/// Decides by the request's headers; `etag` is strong and stands with its quotes.
pub fn decide(method: &Method, headers: &HeaderMap, etag: &str, size_bytes: u64) -> Answer {
    if matches(headers, etag) {
        return Answer::NotModified;
    }
    // Range is defined for GET alone.
    if method != Method::GET || !range_applies(headers, etag) {
        return Answer::Full;
    }
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else { return Answer::Full };
    part(range, size_bytes)
}

/// Whether `If-None-Match` names the content; compared weakly, as the standard asks.
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// Whether `If-Range` lets the range through: absent, or the very same strong tag. A date never matches, since content
/// has no date here.
fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

/// Reads a `Range`. Several ranges and other units are ignored, as the standard allows; a range that is malformed too.
fn part(range: &str, size_bytes: u64) -> Answer {
    let Some(spec) = range.trim().strip_prefix("bytes=") else { return Answer::Full };
    let Some((first, last)) = spec.trim().split_once('-') else { return Answer::Full };
    let number = |digits: &str| {
        // `parse` would take a sign.
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
    };
    let bytes = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Answer::Full,
        (true, false) => {
            let Some(suffix) = number(last) else { return Answer::Full };
            size_bytes.saturating_sub(suffix)..size_bytes
        }
        (false, true) => {
            let Some(first) = number(first) else { return Answer::Full };
            first..size_bytes
        }
        (false, false) => {
            let (Some(first), Some(last)) = (number(first), number(last)) else { return Answer::Full };
            if last < first {
                return Answer::Full;
            }
            first..last.saturating_add(1).min(size_bytes)
        }
    };
    if bytes.start < bytes.end { Answer::Part(bytes) } else { Answer::NotSatisfiable }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn get(headers: &[(axum::http::HeaderName, &'static str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        decide(&Method::GET, &headers, ETAG, 100)
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (range, answer) in [
            ("bytes=0-0", Answer::Part(0..1)),
            ("bytes=10-", Answer::Part(10..100)),
            ("bytes=-5", Answer::Part(95..100)),
            ("bytes=-500", Answer::Part(0..100)),
            ("bytes=90-1000", Answer::Part(90..100)),
            ("bytes=99-18446744073709551615", Answer::Part(99..100)),
            ("bytes=100-", Answer::NotSatisfiable),
            ("bytes=-0", Answer::NotSatisfiable),
            ("bytes=5-4", Answer::Full),
            ("bytes=0-1,5-6", Answer::Full),
            ("bytes=+1-2", Answer::Full),
            ("bytes=-", Answer::Full),
            ("lines=0-1", Answer::Full),
        ] {
            assert_eq!(get(&[(RANGE, range)]), answer, "{range}");
        }
    }

    #[test]
    fn a_tag_that_the_client_has_is_not_sent_again() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(get(&[(IF_NONE_MATCH, tags), (RANGE, "bytes=0-0")]), Answer::NotModified, "{tags}");
        }
        assert_eq!(get(&[(IF_NONE_MATCH, "\"x\"")]), Answer::Full);
    }

    #[test]
    fn a_range_of_other_content_is_answered_with_everything() {
        assert_eq!(get(&[(RANGE, "bytes=0-0"), (IF_RANGE, "\"abc\"")]), Answer::Part(0..1));
        for other in ["\"x\"", "W/\"abc\"", "Mon, 23 Nov 2026 00:00:00 GMT"] {
            assert_eq!(get(&[(RANGE, "bytes=0-0"), (IF_RANGE, other)]), Answer::Full, "{other}");
        }
    }

    #[test]
    fn a_head_request_ignores_ranges() {
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        assert_eq!(decide(&Method::HEAD, &headers, ETAG, 100), Answer::Full);
    }
}
