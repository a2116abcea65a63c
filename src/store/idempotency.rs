//! Requests that must not be carried out twice.
//!
//! A request with a key first takes the key (committed at once, so that a repetition sees it in flight), then stores its
//! response in the transaction that creates what was asked for. A repetition gets that response. Where the process dies
//! in between, the key is free again at the service's next start, at the latest after a while, and the owner's name keeps the dead one from finishing after all.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::StoreError;
use super::tenant::TenantId;

/// How long a response is kept.
pub const KEEP: Duration = Duration::from_hours(24);

/// How long a request may take from taking its key to its response; longer than an inspection may run.
pub const IN_FLIGHT: Duration = Duration::from_mins(15);

/// A key that this request holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHold {
    key: String,
    owner: Uuid,
}

/// The response that is given again.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    pub status_code: u16,
    pub body: Value,
}

/// What to do with a request that has a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    /// Carry it out, then [`complete`] or [`abandon`].
    Started(KeyHold),
    /// It was carried out: answer as then.
    Replay(StoredResponse),
    /// It is being carried out (409).
    InFlight,
    /// The key belongs to a request with other content (422).
    OtherFingerprint,
}

/// Takes a key. `fingerprint` names operation and content (of a streamed body its SHA-256). `conn` must not be in a
/// transaction: a repetition has to see the key at once.
pub async fn begin(
    conn: &mut PgConnection,
    tenant: TenantId,
    key: &str,
    fingerprint: &str,
) -> Result<Begin, StoreError> {
    let owner = Uuid::now_v7();
    let taken = sqlx::query!(
        "insert into idempotency_keys as k (tenant_id, key, fingerprint, owner, in_flight_until, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5), now() + make_interval(secs => $6))
         on conflict (tenant_id, key) do update
             set fingerprint = excluded.fingerprint, owner = excluded.owner, created_at = now(),
                 in_flight_until = excluded.in_flight_until, expires_at = excluded.expires_at,
                 status_code = null, response = null
             where k.expires_at <= now()
                or (k.status_code is null and k.in_flight_until <= now() and k.fingerprint = excluded.fingerprint)",
        tenant.0,
        key,
        fingerprint,
        owner,
        IN_FLIGHT.as_secs_f64(),
        KEEP.as_secs_f64(),
    )
    .execute(&mut *conn)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(Begin::Started(KeyHold { key: key.into(), owner }));
    }
    let row = sqlx::query!(
        "select fingerprint, status_code, response from idempotency_keys where tenant_id = $1 and key = $2",
        tenant.0,
        key,
    )
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        // Abandoned between the two statements: to the client the same as a request that is just ending.
        None => Begin::InFlight,
        Some(row) if row.fingerprint != fingerprint => Begin::OtherFingerprint,
        Some(row) => match (row.status_code, row.response) {
            (Some(status_code), Some(body)) => {
                Begin::Replay(StoredResponse { status_code: status_code.unsigned_abs(), body })
            }
            _ => Begin::InFlight,
        },
    })
}

/// Stores the response, in the transaction that creates what was asked for.
///
/// Errors: `KeyTakenOver` where a repetition has taken the key meanwhile; the transaction must be rolled back.
pub async fn complete(
    conn: &mut PgConnection,
    tenant: TenantId,
    hold: &KeyHold,
    response: &StoredResponse,
) -> Result<(), StoreError> {
    let stored = sqlx::query!(
        "update idempotency_keys set status_code = $4, response = $5
         where tenant_id = $1 and key = $2 and owner = $3 and status_code is null",
        tenant.0,
        hold.key,
        hold.owner,
        i16::try_from(response.status_code).unwrap_or(i16::MAX),
        response.body,
    )
    .execute(conn)
    .await?;
    if stored.rows_affected() == 0 { Err(StoreError::KeyTakenOver) } else { Ok(()) }
}

/// Gives back every key that has no response yet, for a start that knows that nobody carries out requests: on one host, the
/// holder of the data directory's lock before it takes its first request. Returns how many.
pub async fn abandon_all(conn: &mut PgConnection) -> Result<u64, StoreError> {
    let freed = sqlx::query!("delete from idempotency_keys where status_code is null").execute(conn).await?;
    Ok(freed.rows_affected())
}

/// Gives the key back: nothing was created, a repetition may try anew.
pub async fn abandon(conn: &mut PgConnection, tenant: TenantId, hold: &KeyHold) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from idempotency_keys where tenant_id = $1 and key = $2 and owner = $3 and status_code is null",
        tenant.0,
        hold.key,
        hold.owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}
