//! `GET /v1/jobs/{id}/events`: a job's history as pages, or as a stream that follows it to its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::accept::negotiate;
use super::changes::{JobWatch, Woken};
use super::extract::{Id, Params, Tenant};
use super::page::{self, Page};
use super::problem::{Problem, ProblemCode};
use super::responses::EventProblems;
use super::state::AppState;
use crate::store::event::{self, Event};
use crate::store::job;
use crate::store::tenant::TenantId;

/// Time between comments that keep a silent stream from being taken for dead; below the idle limits of proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that a stream reads at once.
const BATCH: u32 = 100;

/// Something that happened in a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventBody {
    /// 1, 2, 3, … within the job; the `id:` of the stream.
    pub seq: i64,
    /// The attempt in which it happened; 0 before the first.
    pub attempt: u32,
    /// Stable name of what happened; the `event:` of the stream.
    pub kind: String,
    /// One sentence for people.
    pub message: String,
    /// The figures.
    #[schema(value_type = Object)]
    pub data: Value,
    pub created_at: DateTime<Utc>,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            seq: event.seq,
            attempt: event.attempt,
            kind: event.event.kind,
            message: event.event.message,
            data: event.event.data,
            created_at: event.created_at,
        }
    }
}

/// Parameters of a page of events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Items of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Events are numbered without gaps, so `seq` of the last one seen serves too.
    cursor: Option<String>,
}

/// Read a job's events
///
/// Oldest first: as a page, or with `Accept: text/event-stream` as a stream that ends after the job's last event. A
/// stream that was broken off goes on behind `Last-Event-ID`; where nothing is left to come it is answered with 204,
/// which tells a browser not to ask again.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(
        ("id" = Uuid, Path, description = "Id of the job"),
        EventQuery,
        ("Last-Event-ID" = Option<i64>, Header, description = "`seq` behind which a stream begins"),
    ),
    responses(
        (status = 200, description = "A page of events, or a stream", content((Page<EventBody> = "application/json"), (String = "text/event-stream"))),
        (status = 204, description = "The stream has ended: the job has, and its last event was seen"),
        EventProblems,
    ),
)]
pub async fn list_job_events(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id,
    Params(query): Params<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let kind = negotiate(&headers, &["application/json", "text/event-stream"])?;
    let limit = page::limit(query.limit)?;
    let after = seq("cursor", query.cursor.as_deref())?;
    if kind == "text/event-stream" {
        let last_seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        return stream(state, tenant, id, seq("Last-Event-ID", last_seen)?.max(after)).await;
    }
    let mut connection = state.connection().await?;
    job::get(&mut connection, tenant, id).await?;
    let mut events = event::list(&mut connection, tenant, id, after, limit + 1).await?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next_cursor = events.last().filter(|_| more).map(|event| event.seq.to_string());
    Ok(Json(Page { items: events.into_iter().map(EventBody::from).collect(), next_cursor }).into_response())
}

fn seq(parameter: &str, text: Option<&str>) -> Result<i64, Problem> {
    let Some(text) = text else { return Ok(0) };
    let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Problem::parameter(parameter, "is not a `seq` of an event"))
}

async fn stream(state: AppState, tenant: TenantId, id: Uuid, after: i64) -> Result<Response, Problem> {
    let place = state.stream_place()?;
    // Watch first and read then, so that nothing falls between.
    let watch = state.changes.watch(id);
    let job = job::get(&mut *state.connection().await?, tenant, id).await?;
    if job.status.is_finished() && job.last_event_seq <= after {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let follower = Follower { state, tenant, id, seen: after, ready: VecDeque::new(), watch, _place: place };
    let mut response = Sse::new(follower.follow()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies that collect responses would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// A reader of one job's events.
struct Follower {
    state: AppState,
    tenant: TenantId,
    id: Uuid,
    /// Number of the last event that was read.
    seen: i64,
    /// Read, not yet sent.
    ready: VecDeque<Event>,
    watch: JobWatch,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    fn follow(self) -> impl Stream<Item = Result<SseEvent, Infallible>> {
        futures_util::stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(sent(event)), follower))
        })
    }

    /// The next event; `None` after the last one of an ended job, at the end of the service, and where the database is
    /// lost: the client comes back with the last id it has seen.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let ended = match self.read().await {
                Ok(ended) => ended,
                Err(problem) => {
                    tracing::warn!(job.id = %self.id, error = ?problem, "A stream of events breaks off");
                    return None;
                }
            };
            if !self.ready.is_empty() {
                continue;
            }
            if ended {
                return None;
            }
            let far = Instant::now() + Duration::from_hours(1);
            if self.watch.changed(far).await == Woken::Shutdown {
                return None;
            }
        }
    }

    /// Reads what is new; says whether nothing can follow it.
    async fn read(&mut self) -> Result<bool, Problem> {
        let mut connection = self.state.connection().await?;
        // The job first: its last event is written with its end, so an ended job has all its events.
        let job = job::get(&mut connection, self.tenant, self.id).await?;
        self.ready = event::list(&mut connection, self.tenant, self.id, self.seen, BATCH).await?.into();
        if let Some(last) = self.ready.back() {
            self.seen = last.seq;
        }
        Ok(job.status.is_finished() && self.seen >= job.last_event_seq)
    }
}

fn sent(event: Event) -> SseEvent {
    let (id, kind) = (event.seq.to_string(), event.event.kind.clone());
    let data = serde_json::to_string(&EventBody::from(event)).unwrap_or_default();
    // A line break in the name would end the event, so the library panics on one.
    let kind: String = kind.chars().filter(|c| !c.is_control()).collect();
    SseEvent::default().id(id).event(kind).data(data)
}

impl AppState {
    fn stream_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        std::sync::Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Problem::new(ProblemCode::Overloaded, "As many streams of events are open as the service takes.")
                .retry_after(5)
        })
    }
}
