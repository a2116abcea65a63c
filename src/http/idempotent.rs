//! `Idempotency-Key` on creations: a repeated request is answered as the first one was, and not carried out again.
//!
//! A handler takes the key once it knows what is asked for (of an upload when its last byte has come), and stores its
//! response in the transaction that creates the resource. Where it fails or is dropped before that, the key is given
//! back and a repetition tries anew.

use axum::extract::FromRequestParts;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::problem::{Problem, ProblemCode};
use super::state::AppState;
use crate::store::error::StoreError;
use crate::store::idempotency::{self, Begin, KeyHold, StoredResponse};
use crate::store::tenant::TenantId;

/// The request header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says on a response that it is the stored one.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key; a UUID has 36 characters.
const LONGEST_KEY: usize = 255;

/// The key of a request, where it has one.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_key(&parts.headers).map(Self)
    }
}

/// Reads the key. The draft of the header makes it a quoted string; a bare one means the same here.
fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let refused = |detail: &str| Problem::new(ProblemCode::InvalidHeader, format!("Idempotency-Key: {detail}"));
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("stands more than once"));
    }
    let text = value.to_str().map_err(|_| refused("holds other than printable ASCII characters"))?.trim();
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(refused("must have 1 to 255 characters"));
    }
    Ok(Some(key.to_owned()))
}

/// What a request asks for, for comparison: the operation and everything that its result depends on.
pub fn fingerprint(operation: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts read the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("{operation} {}", hex::encode(hash.finalize()))
}

/// The key while the request is carried out; given back when dropped before its response was stored.
#[derive(Debug)]
pub struct Held {
    state: AppState,
    tenant: TenantId,
    hold: Option<KeyHold>,
}

/// Whether the request is to be carried out.
#[derive(Debug)]
pub enum Turn {
    CarryOut(Box<Held>),
    Answered(Response),
}

impl IdempotencyKey {
    /// Takes the key, where there is one.
    ///
    /// Errors: the key is in flight, or belongs to another request.
    pub async fn take(self, state: &AppState, tenant: TenantId, fingerprint: &str) -> Result<Turn, Problem> {
        let mut held = Held { state: state.clone(), tenant, hold: None };
        let Some(key) = self.0 else { return Ok(Turn::CarryOut(Box::new(held))) };
        let mut connection = state.connection().await?;
        match idempotency::begin(&mut connection, tenant, &key, fingerprint).await? {
            Begin::Started(hold) => {
                held.hold = Some(hold);
                Ok(Turn::CarryOut(Box::new(held)))
            }
            Begin::Replay(stored) => {
                let mut response = answer(&stored)?;
                response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
                Ok(Turn::Answered(response))
            }
            Begin::InFlight => Err(Problem::new(
                ProblemCode::IdempotencyKeyInFlight,
                "The first request with this Idempotency-Key has not been answered yet.",
            )
            .retry_after(1)),
            Begin::OtherFingerprint => Err(Problem::new(
                ProblemCode::IdempotencyKeyReused,
                "This Idempotency-Key was used for a request of other content; take a new key for a new request.",
            )),
        }
    }
}

impl Held {
    /// Stores the response in the transaction that creates the resource. Once that is committed call
    /// [`Held::committed`].
    pub async fn complete(&self, transaction: &mut PgConnection, response: &StoredResponse) -> Result<(), StoreError> {
        match &self.hold {
            Some(hold) => idempotency::complete(transaction, self.tenant, hold, response).await,
            None => Ok(()),
        }
    }

    /// The response is stored: the key is not given back any more.
    pub fn committed(mut self: Box<Self>) {
        self.hold = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let (state, tenant) = (self.state.clone(), self.tenant);
        tokio::spawn(async move {
            let given_back = async {
                let mut connection = state.connection().await?;
                idempotency::abandon(&mut connection, tenant, &hold).await.map_err(Problem::from)
            };
            // Where the database is gone, the key comes free by itself after a while.
            if given_back.await.is_err() {
                tracing::warn!("An idempotency key could not be given back: it comes free by itself");
            }
        });
    }
}

/// The response to a creation, as it is stored and sent. Its body has `links.self`, which is its `Location`.
pub fn created(status: StatusCode, body: &impl Serialize) -> Result<StoredResponse, Problem> {
    let body = serde_json::to_value(body).map_err(Problem::internal)?;
    Ok(StoredResponse { status_code: status.as_u16(), body })
}

/// Sends a stored response.
pub fn answer(stored: &StoredResponse) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(stored.status_code).map_err(Problem::internal)?;
    let location = stored.body.pointer("/links/self").and_then(Value::as_str).map(str::to_owned);
    let mut response = (status, axum::Json(&stored.body)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).map_err(Problem::internal)?);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&'static str]) -> Result<Option<String>, Problem> {
        let headers = values.iter().map(|value| (IDEMPOTENCY_KEY, HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        read_key(&map)
    }

    #[test]
    fn a_key_reads_the_same_with_and_without_quotes() {
        assert_eq!(key(&["\"abc\""]).expect("a key"), Some("abc".into()));
        assert_eq!(key(&["abc"]).expect("a key"), Some("abc".into()));
        assert_eq!(key(&[]).expect("none"), None);
    }

    #[test]
    fn two_keys_and_empty_keys_are_refused() {
        assert!(key(&["a", "b"]).is_err() && key(&["\"\""]).is_err() && key(&[""]).is_err());
    }

    #[test]
    fn fingerprints_differ_where_parts_are_cut_elsewhere() {
        assert_ne!(fingerprint("create_model", &[b"ab", b"c"]), fingerprint("create_model", &[b"a", b"bc"]));
        assert_ne!(fingerprint("create_model", &[b"a"]), fingerprint("create_dataset", &[b"a"]));
    }
}
