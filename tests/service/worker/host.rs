//! Workers of a test: in its own process, or in another that can be killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateur::attempt::launcher::{Launcher, LauncherSettings};
use secateur::attempt::scratch::ScratchRoot;
use secateur::spec::attempt::{DatasetLimits, Limits, ModelLimits};
use secateur::spec::job::JobStatus;
use secateur::store::database::Database;
use secateur::store::job::Job;
use secateur::store::object::Objects;
use secateur::worker::{Worker, WorkerSettings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::world::World;

/// A lease that no test outlives.
pub const LONG: Duration = Duration::from_hours(1);

pub fn settings(lease: Duration) -> WorkerSettings {
    WorkerSettings {
        slots: 1,
        threads: 1,
        memory_bytes: 1 << 30,
        file_bytes: 1 << 30,
        open_files: 256,
        lease,
        poll: Duration::from_millis(100),
        checkpoint_interval: Duration::from_secs(1),
        retention: LONG,
        collector_grace: LONG,
        model_limits: ModelLimits::default(),
        dataset_limits: DatasetLimits::default(),
    }
}

/// Starts a worker on the database and the folders of a world, with the stand-in that lies there.
async fn start(database: Database, folder: &Path, settings: WorkerSettings, shutdown: CancellationToken) -> Worker {
    let scratch = Arc::new(ScratchRoot::open(&folder.join("scratch")).expect("a scratch folder"));
    let launcher = LauncherSettings {
        program: folder.join("program"),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        log_filter: "info".into(),
        drain_grace: Duration::from_secs(20),
        inspection: Limits { memory_bytes: 1 << 30, deadline_ms: 60_000, file_bytes: 1 << 30, open_files: 256 },
        concurrent_inspections: 1,
    };
    let launcher = Launcher::new(launcher, scratch).expect("a launcher");
    let objects = Objects::open(&folder.join("objects")).expect("an object store");
    Worker::start(database, objects, launcher, settings, shutdown).await.expect("a worker")
}

/// A worker in the test's own process.
pub struct Hosted {
    pub shutdown: CancellationToken,
    worker: Worker,
}

impl Hosted {
    pub async fn start(world: &World, settings: WorkerSettings) -> Self {
        let shutdown = CancellationToken::new();
        let worker = start(world.database().clone(), world.folder.path(), settings, shutdown.clone()).await;
        Self { shutdown, worker }
    }

    /// Tells it to stop and waits until it has.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.worker.drained().await;
    }
}

/// A worker in a process of its own.
pub struct OtherProcess {
    pub child: Child,
}

const URL: &str = "SECATEUR_TEST_WORKER_URL";
const FOLDER: &str = "SECATEUR_TEST_WORKER_FOLDER";
const LEASE_MS: &str = "SECATEUR_TEST_WORKER_LEASE_MS";

/// No test: the body of [`OtherProcess`], which runs this program again with nothing but this.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that tests of recovery kill"]
#[expect(clippy::disallowed_methods, reason = "how this process is told what to do")]
async fn hosts_a_worker_for_other_tests() {
    let Ok(url) = std::env::var(URL) else { return };
    let folder = std::env::var(FOLDER).expect("a folder");
    let lease = std::env::var(LEASE_MS).expect("a lease").parse().expect("a number");
    let database = Database::connect(&url, 8).await.expect("the test's database");
    let worker =
        start(database, folder.as_ref(), settings(Duration::from_millis(lease)), CancellationToken::new()).await;
    eprintln!("worker is up");
    worker.drained().await;
}

impl OtherProcess {
    pub fn start(world: &World, lease: Duration) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "--ignored", "--nocapture", "worker::host::hosts_a_worker_for_other_tests"])
            .env(URL, world.url())
            .env(FOLDER, world.folder.path())
            .env(LEASE_MS, lease.as_millis().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program runs again");
        let stderr = BufReader::new(child.stderr.take().expect("a piped error output"));
        let mut lines = stderr.lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "worker is up"), "the worker started");
        // Read on, so that it never blocks.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the worker can be signalled");
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the job is as the test wants it, half a minute at most.
pub async fn until(world: &World, id: Uuid, what: &str, wanted: impl Fn(&Job) -> bool) -> Job {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let job = world.job(id).await;
        if wanted(&job) {
            return job;
        }
        assert!(Instant::now() < until, "{what}: {job:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn until_status(world: &World, id: Uuid, status: JobStatus) -> Job {
    until(world, id, status.as_str(), |job| job.status == status).await
}

/// Waits until an event of this kind stands in the job's history.
pub async fn until_event(world: &World, id: Uuid, kind: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while !world.event_kinds(id).await.iter().any(|known| known == kind) {
        assert!(Instant::now() < until, "no event {kind}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
