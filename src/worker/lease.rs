//! Keeps leases alive from a thread of its own, with a runtime and a database connection of its own: neither a busy
//! server nor an exhausted pool delays a heartbeat.
//!
//! What a heartbeat may mean:
//!
//! - *renewed*: the job is ours until the lease's length after the request was **sent** (the database counts from later,
//!   so we never believe in a lease longer than it does);
//! - *lost*: the job is somebody else's or has ended;
//! - *failed*: unknown. It is tried again until the time that the last renewal gave is used up; then the lease counts as
//!   lost, for another worker may have the job.

use std::io;
use std::thread;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};
use uuid::Uuid;

use crate::queue::{Lease, Renewal, renew};
use crate::store::database::Database;

/// Whether an attempt may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The job is ours.
    Held,
    /// The job is ours, and its cancellation was asked for.
    Cancelled,
    /// The job is not ours any more, or we cannot know.
    Lost,
}

/// A lease that is being kept; dropped, it is kept no longer.
#[derive(Debug)]
pub(super) struct KeptLease {
    standing: watch::Receiver<Standing>,
}

impl KeptLease {
    pub(super) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until the job is cancelled or not ours any more.
    pub(super) async fn ended(&self) -> Standing {
        let mut standing = self.standing.clone();
        let ended = standing.wait_for(|standing| *standing != Standing::Held).await.map(|standing| *standing);
        // A keeper that is gone keeps nothing.
        ended.unwrap_or(Standing::Lost)
    }
}

/// Handle to the keeping thread; the thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    duration: Duration,
    requests: mpsc::UnboundedSender<Request>,
}

#[derive(Debug)]
enum Request {
    Keep(Held),
    /// Looks at a job (all, where none is named) now and not at the next beat: its cancellation was probably asked for.
    Look(Option<Uuid>),
}

impl LeaseKeeper {
    /// Starts the thread. Leases last `duration`; cancellations that no signal told of are found within two `poll`s.
    ///
    /// Errors: the operating system gives no thread.
    pub(super) fn start(database: Database, duration: Duration, poll: Duration) -> io::Result<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Three beats may fail before a lease lapses; a beat also carries the news that a job was cancelled.
        let beat = (duration / 3).min(2 * poll);
        let keeper = Keeper { database, duration, beat, connection: None, held: Vec::new(), inbox };
        thread::Builder::new().name("lease-keeper".into()).spawn(move || runtime.block_on(keeper.run()))?;
        Ok(Self { duration, requests })
    }

    /// Keeps the lease of a job that was claimed by a request sent at `claimed_at`.
    pub(super) fn keep(&self, lease: Lease, claimed_at: Instant) -> KeptLease {
        let (sender, standing) = watch::channel(Standing::Held);
        let held = Held { lease, until: claimed_at + self.duration, standing: sender };
        // Where the thread is gone, the sender is dropped with the request, which reads as lost.
        let _ = self.requests.send(Request::Keep(held));
        KeptLease { standing }
    }

    /// Makes the keeper look at a job now; at all of them, where none is named.
    pub(super) fn look(&self, job_id: Option<Uuid>) {
        let _ = self.requests.send(Request::Look(job_id));
    }
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// Until when the job is surely ours.
    until: Instant,
    standing: watch::Sender<Standing>,
}

struct Keeper {
    database: Database,
    duration: Duration,
    beat: Duration,
    connection: Option<PgConnection>,
    held: Vec<Held>,
    inbox: mpsc::UnboundedReceiver<Request>,
}

impl Keeper {
    async fn run(mut self) {
        let mut next_beat = Instant::now();
        loop {
            tokio::select! {
                request = self.inbox.recv() => match request {
                    Some(Request::Keep(held)) => self.held.push(held),
                    Some(Request::Look(job_id)) => self.beat(|held| job_id.is_none_or(|job_id| held.lease.job_id == job_id)).await,
                    None => return,
                },
                () = sleep_until(next_beat) => {
                    next_beat = Instant::now() + self.beat;
                    self.beat(|_| true).await;
                }
            }
        }
    }

    /// Renews the leases that `due` names, and forgets those that are over or that nobody needs any more.
    async fn beat(&mut self, due: impl Fn(&Held) -> bool) {
        self.held.retain(|held| !held.standing.is_closed());
        for index in 0..self.held.len() {
            if due(&self.held[index]) {
                let lease = self.held[index].lease;
                let sent = Instant::now();
                let renewal = self.renew(&lease).await;
                self.held[index].take(renewal, sent + self.duration);
            }
        }
        self.held.retain(|held| *held.standing.borrow() != Standing::Lost);
    }

    /// One heartbeat; `None` where its result is unknown.
    async fn renew(&mut self, lease: &Lease) -> Option<Renewal> {
        // A request that hangs must not use up the lease of the others.
        let patience = self.beat.max(Duration::from_millis(100));
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match timeout(patience, self.database.connection()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => {
                    warn!("Leases cannot be renewed, the database is out of reach: {error}");
                    return None;
                }
                Err(_) => {
                    warn!("Leases cannot be renewed, the database does not answer");
                    return None;
                }
            },
        };
        match timeout(patience, renew(&mut connection, lease, self.duration)).await {
            Ok(Ok(renewal)) => {
                self.connection = Some(connection);
                Some(renewal)
            }
            Ok(Err(error)) => {
                warn!(job.id = %lease.job_id, "A lease cannot be renewed: {error}");
                None
            }
            Err(_) => {
                warn!(job.id = %lease.job_id, "A lease cannot be renewed, the database does not answer");
                None
            }
        }
    }
}

impl Held {
    fn take(&mut self, renewal: Option<Renewal>, renewed_until: Instant) {
        let job = self.lease.job_id;
        let standing = match renewal {
            Some(Renewal::Held { cancel_requested: false, .. }) => Standing::Held,
            Some(Renewal::Held { cancel_requested: true, .. }) => Standing::Cancelled,
            Some(Renewal::Lost) => {
                info!(job.id = %job, "The lease is over: the job has ended or is another worker's");
                Standing::Lost
            }
            None if Instant::now() >= self.until => {
                warn!(job.id = %job, "The lease has lapsed unrenewed; another worker may have the job");
                Standing::Lost
            }
            None => return,
        };
        if standing != Standing::Lost {
            self.until = renewed_until;
        }
        self.standing.send_if_modified(|now| {
            let changes = *now != standing;
            if changes && standing == Standing::Cancelled {
                info!(job.id = %job, "The job is being cancelled");
            }
            *now = standing;
            changes
        });
    }
}
