//! Content negotiation: which of the types that a resource has suits `Accept` best (RFC 9110, section 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::problem::{Problem, ProblemCode};

/// Picks one of `offered`, given in order of preference as `type/subtype`; the first where the client does not say.
///
/// Errors: `not_acceptable` where the client takes none of them.
pub fn negotiate<'a>(headers: &HeaderMap, offered: &[&'a str]) -> Result<&'a str, Problem> {
    let accepted: Vec<Accepted> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(read).collect();
    let best = offered
        .iter()
        .filter_map(|kind| {
            let quality = if accepted.is_empty() { 1.0 } else { quality(&accepted, kind) };
            (quality > 0.0).then_some((quality, *kind))
        })
        // The first of equals: a later one must be better.
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, kind)| kind)
        .ok_or_else(|| Problem::new(ProblemCode::NotAcceptable, format!("It can be had as {}.", offered.join(" or "))))
}

struct Accepted {
    kind: String,
    quality: f32,
}

fn read(value: &str) -> impl Iterator<Item = Accepted> {
    value.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?.to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
        Some(Accepted { kind, quality })
    })
}

/// The quality of the most specific range that covers the type; 0 where none does.
fn quality(accepted: &[Accepted], kind: &str) -> f32 {
    let family = kind.split('/').next().unwrap_or_default();
    let family = format!("{family}/*");
    [kind, &family, "*/*"]
        .iter()
        .find_map(|range| accepted.iter().find(|accepted| accepted.kind == *range))
        .map_or(0.0, |accepted| accepted.quality)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_best_of_what_is_accepted_is_picked() {
        let offered = ["application/json", "text/markdown"];
        for (accept, picked) in [
            (None, Some("application/json")),
            (Some("*/*"), Some("application/json")),
            (Some("text/markdown"), Some("text/markdown")),
            (Some("text/*"), Some("text/markdown")),
            (Some("text/markdown;q=0.5, application/json;q=0.4"), Some("text/markdown")),
            (Some("application/json, text/markdown"), Some("application/json")),
            (Some("application/json;q=0, */*"), Some("text/markdown")),
            (Some("text/html"), None),
        ] {
            let headers: HeaderMap =
                accept.into_iter().map(|value| (ACCEPT, HeaderValue::from_static(value))).collect();
            assert_eq!(negotiate(&headers, &offered).ok(), picked, "{accept:?}");
        }
    }
}
