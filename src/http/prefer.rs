//! `Prefer: wait=N` (RFC 7240): how long a client would like to wait for a job to end.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

/// The request header.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Tells which preference was honoured.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Longest wait: below the idle limits of common proxies, which a client would otherwise run into.
pub const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The wait that is honoured. A preference that cannot be read is no error: the standard has it ignored.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_wait_is_found_among_other_preferences_and_capped() {
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, Wait = 10; x=y", Some(10)),
            ("wait=3600", Some(60)),
            ("wait=0", Some(0)),
            ("wait=-1", None),
            ("wait", None),
            ("respond-async", None),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static(value))]);
            assert_eq!(wait(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
