//! Watches a body as it comes: that it keeps a least pace, and that what has come is also taken.
//!
//! A form's parser keeps bytes in memory for as long as it looks for the next boundary or the end of a field's headers, and
//! reads for as long as there is something to read. So a chunk is followed by a pause in which the parser has to hand out
//! what it found, and a body of which too much stays with the parser is broken off.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use super::problem::{Problem, ProblemCode};

/// Bytes after which, and one more chunk, nobody has taken what came.
const UNTAKEN_BYTES: u64 = 64 << 10;

/// The slowest that a body may come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub bytes: u64,
    pub window: Duration,
}

/// Why a body was broken off.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Untaken,
    Slow(Pace),
}

/// The reader's side of a metered body.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Readings>);

#[derive(Debug, Default)]
struct Readings {
    untaken: AtomicU64,
    refusal: OnceLock<Refusal>,
}

impl Gauge {
    /// The parser has handed something out.
    pub fn taken(&self) {
        self.0.untaken.store(0, Ordering::Relaxed);
    }

    /// The reason for which the body was broken off, where it was; else the problem as it is.
    pub fn explain(&self, problem: Problem) -> Problem {
        match self.0.refusal.get() {
            None => problem,
            Some(Refusal::Untaken) => Problem::new(
                ProblemCode::InvalidBody,
                format!(
                    "The form has more than {} KiB without a boundary or within a field's headers.",
                    UNTAKEN_BYTES >> 10
                ),
            ),
            Some(Refusal::Slow(pace)) => Problem::new(
                ProblemCode::UploadTimedOut,
                format!(
                    "The body came too slowly: fewer than {} bytes within {} s; send it again.",
                    pace.bytes,
                    pace.window.as_secs_f64()
                ),
            ),
        }
    }
}

/// A body that is watched.
#[derive(Debug)]
pub struct Metered {
    body: BodyDataStream,
    gauge: Gauge,
    pace: Pace,
    window_ends: Instant,
    window_bytes: u64,
    pause: bool,
}

impl Metered {
    pub fn new(body: Body, pace: Pace, gauge: Gauge) -> Self {
        let window_ends = Instant::now() + pace.window;
        Self { body: body.into_data_stream(), gauge, pace, window_ends, window_bytes: 0, pause: false }
    }

    fn refuse(&self, refusal: Refusal) -> Poll<Option<Result<Bytes, Error>>> {
        let refusal = self.gauge.0.refusal.get_or_init(|| refusal);
        Poll::Ready(Some(Err(Error::new(std::io::Error::other(format!("broken off: {refusal:?}"))))))
    }
}

impl Stream for Metered {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.gauge.0.untaken.load(Ordering::Relaxed) > UNTAKEN_BYTES {
            return self.refuse(Refusal::Untaken);
        }
        let chunk = match Pin::new(&mut self.body).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => chunk,
            other => return other,
        };
        let now = Instant::now();
        self.window_bytes += chunk.len() as u64;
        if now >= self.window_ends {
            if self.window_bytes < self.pace.bytes {
                return self.refuse(Refusal::Slow(self.pace));
            }
            self.window_ends = now + self.pace.window;
            self.window_bytes = 0;
        }
        self.gauge.0.untaken.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        self.pause = true;
        Poll::Ready(Some(Ok(chunk)))
    }
}
