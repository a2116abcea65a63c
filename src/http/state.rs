//! What handlers share: connections, the launcher of inspections, settings, and the places that bound concurrency.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::changes::JobChanges;
use super::metered::Pace;
use super::problem::{Problem, ProblemCode};
use crate::attempt::launcher::Launcher;
use crate::spec::attempt::{DatasetLimits, ModelLimits};
use crate::store::database::Database;
use crate::store::object::Objects;

/// Settings of the HTTP side.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Largest model that is taken.
    pub model_bytes: u64,
    /// Largest dataset that is taken.
    pub dataset_bytes: u64,
    /// Largest JSON body.
    pub json_bytes: usize,
    /// What a model may hold.
    pub model_limits: ModelLimits,
    /// What a dataset may hold.
    pub dataset_limits: DatasetLimits,
    /// Uploads that are received or inspected at the same time.
    pub concurrent_uploads: usize,
    /// How long an upload waits for one of those places before it is told to come back.
    pub upload_queue_time: Duration,
    /// Longest silence within an upload.
    pub upload_idle_time: Duration,
    /// The slowest that an upload may come.
    pub upload_pace: Pace,
    /// Longest upload as a whole.
    pub upload_time: Duration,
    /// How long the head of a request may take to come, the wait for it included: a connection without requests ends then.
    pub header_time: Duration,
    /// Requests that are worked on at the same time, uploads included; streams of events have their own number.
    pub concurrent_requests: usize,
    /// Open streams of events.
    pub concurrent_streams: usize,
    /// Longest time until a response begins, waits that the client asked for aside.
    pub response_time: Duration,
    /// How often a waiting request looks for itself whether a job has changed, should a notification be lost.
    pub poll_interval: Duration,
    /// Running time of a job that names no deadline.
    pub job_deadline: Duration,
    /// Longest running time that a job may ask for.
    pub longest_job_deadline: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            model_bytes: 4 << 30,
            dataset_bytes: 32 << 30,
            json_bytes: 1 << 20,
            model_limits: ModelLimits::default(),
            dataset_limits: DatasetLimits::default(),
            concurrent_uploads: 4,
            upload_queue_time: Duration::from_secs(10),
            upload_idle_time: Duration::from_mins(1),
            upload_pace: Pace { bytes: 1 << 20, window: Duration::from_mins(1) },
            upload_time: Duration::from_hours(6),
            header_time: Duration::from_mins(1),
            concurrent_requests: 512,
            concurrent_streams: 256,
            response_time: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            job_deadline: Duration::from_hours(24),
            longest_job_deadline: Duration::from_hours(30 * 24),
        }
    }
}

/// What handlers share; cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    pub database: Database,
    pub objects: Objects,
    pub launcher: Launcher,
    pub settings: Arc<HttpSettings>,
    /// Tells waiting requests and streams of events to end, since the service is about to stop.
    pub shutdown: CancellationToken,
    pub(super) changes: JobChanges,
    pub(super) uploads: Arc<Semaphore>,
    pub(super) requests: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
}

impl AppState {
    /// Puts the parts together and begins to listen for changes of jobs, until `shutdown`. Needs a Tokio runtime.
    #[must_use]
    pub fn new(
        database: Database,
        objects: Objects,
        launcher: Launcher,
        settings: HttpSettings,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            changes: JobChanges::listen(database.clone(), settings.poll_interval, shutdown.clone()),
            uploads: Arc::new(Semaphore::new(settings.concurrent_uploads)),
            requests: Arc::new(Semaphore::new(settings.concurrent_requests)),
            streams: Arc::new(Semaphore::new(settings.concurrent_streams)),
            database,
            objects,
            launcher,
            settings: Arc::new(settings),
            shutdown,
        }
    }

    /// A connection of the pool.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Postgres>, Problem> {
        Ok(self.database.pool().acquire().await?)
    }

    /// A place among the uploads.
    pub(super) async fn upload_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.uploads).acquire_owned();
        match tokio::time::timeout(self.settings.upload_queue_time, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(closed)) => Err(Problem::internal(closed)),
            Err(_) => Err(Problem::new(
                ProblemCode::Overloaded,
                format!("{} uploads are under way already.", self.settings.concurrent_uploads),
            )
            .retry_after(5)),
        }
    }
}
