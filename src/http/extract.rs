//! Extractors whose refusals are problems with the place of what is wrong.

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::problem::{Problem, ProblemCode, ProblemItem};
use crate::spec::job::{SpecError, read};
use crate::store::tenant::{DEFAULT_TENANT, TenantId};

/// Whose data the request works on. An installation without keys has one tenant.
#[derive(Clone, Copy, Debug)]
pub struct Tenant(pub TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(DEFAULT_TENANT))
    }
}

/// The id in a path. What is no id names nothing, so it is answered as an unknown id is.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unknown = |id: &str| Problem::new(ProblemCode::NotFound, format!("`{id}` is not an id of this service."));
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| unknown(""))?;
        id.parse().map(Self).map_err(|_| unknown(&id))
    }
}

/// The query; unknown parameters are refused by the type's `deny_unknown_fields`.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(params)| Self(params)).map_err(|rejection| refused_query(&rejection))
    }
}

fn refused_query(rejection: &QueryRejection) -> Problem {
    type Located = serde_path_to_error::Error<serde::de::value::Error>;
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(rejection);
    while let Some(error) = source {
        if let Some(located) = error.downcast_ref::<Located>() {
            return Problem::parameter(&located.path().to_string(), located.inner().to_string());
        }
        source = error.source();
    }
    Problem::new(ProblemCode::InvalidParameter, rejection.body_text())
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                ProblemCode::UnsupportedMediaType,
                "This path takes JSON; send it with `Content-Type: application/json`.",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| refused_body(&rejection))?;
        parse_json(&bytes).map(Self)
    }
}

/// Reads JSON in two steps, so that what is not JSON and what is not ours are told apart and the latter has a place.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Problem::new(ProblemCode::InvalidJson, error.to_string()))?;
    if let Some(place) = nul_in(&value) {
        return Err(Problem::pointing(ProblemCode::InvalidRequest, vec![ProblemItem::at(place, HAS_NUL)]));
    }
    read(Some(value), "").map_err(|error| pointed(ProblemCode::InvalidRequest, error))
}

/// What is told of a text with a NUL character, which the database cannot keep.
pub const HAS_NUL: &str = "must not hold a NUL character";

/// JSON pointer of the first text with a NUL character; of a member whose name has one, its object's.
pub fn nul_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| nul_in(item).map(|place| format!("/{index}{place}")))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            let name = name.replace('~', "~0").replace('/', "~1");
            nul_in(member).map(|place| format!("/{name}{place}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A spec's error as a problem.
pub fn pointed(code: ProblemCode, error: SpecError) -> Problem {
    Problem::pointing(code, vec![ProblemItem::at(error.pointer, error.message)])
}

fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"))
}

/// The media type of the body in lower case, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn refused_body(rejection: &BytesRejection) -> Problem {
    let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ProblemCode::BodyTooLarge
    } else {
        ProblemCode::InvalidBody
    };
    Problem::new(code, rejection.body_text())
}
