//! Starts attempt processes and hands out what they tell.
//!
//! A child gets a process group of its own, the environment of [`ENVIRONMENT`] and nothing else, and three pipes:
//! standard input is its lifeline, standard output its messages, standard error its logs. Who drops the
//! [`Attempt`] kills the child.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc, watch};

use super::death::Ending;
use super::scratch::{Scratch, ScratchRoot};
use super::spawner::Spawner;
use super::supervise::Supervised;
use crate::spec::attempt::{AttemptJob, AttemptMessage, DatasetLimits, Limits, ModelLimits, REWRITTEN_MODEL, Task};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::{DatasetSummary, Inspection, ModelSummary};

/// Variables that a child may inherit. No credential may ever be added here.
pub const ENVIRONMENT: [&str; 7] =
    ["PATH", "LD_LIBRARY_PATH", "ORT_DYLIB_PATH", "TZ", "LANG", "LC_ALL", "RUST_BACKTRACE"];

/// Messages that wait for the worker before the child has to wait.
const NEWS_CAPACITY: usize = 1024;

/// How long nothing may come from the pipes of a dead process, held open by something that it started, before they are
/// left. What the process itself wrote lies there when it ends, and is read within moments.
const PIPE_GRACE: Duration = Duration::from_secs(5);

/// How attempts are started.
#[derive(Clone, Debug)]
pub struct LauncherSettings {
    /// The program with the hidden subcommand: this one.
    pub program: PathBuf,
    /// Values of [`ENVIRONMENT`], those that are set.
    pub environment: Vec<(OsString, OsString)>,
    /// `tracing` filter of the child's logs.
    pub log_filter: String,
    /// How long a draining attempt may take to leave its checkpoint.
    pub drain_grace: Duration,
    /// Limits of one look into an upload.
    pub inspection: Limits,
    /// Looks into uploads at the same time; more wait.
    pub concurrent_inspections: usize,
}

/// Starts attempts; cheap to clone.
#[derive(Clone, Debug)]
pub struct Launcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: LauncherSettings,
    scratch: Arc<ScratchRoot>,
    spawner: Spawner,
    inspections: Semaphore,
}

/// What a look into an uploaded model found.
#[derive(Debug)]
pub struct InspectedModel {
    pub summary: ModelSummary,
    scratch: Scratch,
}

impl InspectedModel {
    /// The file that is to be kept in place of what was uploaded, where the two differ; gone when this is dropped.
    pub fn rewritten(&self) -> Option<PathBuf> {
        let path = self.scratch.path().join(REWRITTEN_MODEL);
        // A link would have the parent read what the child cannot.
        fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()).then_some(path)
    }
}

/// What an attempt has to tell; `Ended` comes once, last.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Message(AttemptMessage),
    Ended(Ending),
}

/// What is wanted of a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Run,
    /// Leave a checkpoint and end; killed after the grace period.
    Drain,
    /// End at once; whatever it leaves is void.
    Kill,
}

/// A running attempt. Dropped before its end, it is killed.
#[derive(Debug)]
pub struct Attempt {
    news: mpsc::Receiver<News>,
    control: AttemptControl,
    process_id: Option<u32>,
}

/// Gives orders to a running attempt, from any thread.
#[derive(Clone, Debug)]
pub struct AttemptControl {
    orders: Arc<watch::Sender<Order>>,
}

impl AttemptControl {
    /// Asks for a checkpoint and an orderly end.
    pub fn terminate(&self) {
        self.orders.send_if_modified(|order| {
            let runs = *order == Order::Run;
            if runs {
                *order = Order::Drain;
            }
            runs
        });
    }

    /// Ends the attempt at once; it ends as [`Ending::Killed`].
    pub fn kill(&self) {
        self.orders.send_replace(Order::Kill);
    }
}

impl Attempt {
    /// The next thing that the attempt has to tell.
    pub async fn next(&mut self) -> News {
        // The supervising task tells an end in every case; that it is gone without one means that the runtime is ending.
        self.news.recv().await.unwrap_or(News::Ended(Ending::Killed))
    }

    /// A handle for orders.
    pub fn control(&self) -> AttemptControl {
        self.control.clone()
    }

    /// The child's process id.
    pub fn process_id(&self) -> Option<u32> {
        self.process_id
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.control.kill();
    }
}

impl Launcher {
    /// A launcher whose own scratch directories (of inspections) lie in `scratch`.
    ///
    /// Errors: the operating system gives no thread.
    pub fn new(settings: LauncherSettings, scratch: Arc<ScratchRoot>) -> io::Result<Self> {
        let inspections = Semaphore::new(settings.concurrent_inspections.max(1));
        Ok(Self { inner: Arc::new(Inner { settings, scratch, spawner: Spawner::start()?, inspections }) })
    }

    /// The directory under which attempts of this process work.
    pub fn scratch(&self) -> &ScratchRoot {
        &self.inner.scratch
    }

    /// Starts an attempt in `scratch`, a directory that holds the inputs which `job` names.
    ///
    /// Errors: the job file cannot be written or the process cannot be started.
    pub async fn start(&self, scratch: &Path, job: &AttemptJob) -> io::Result<Attempt> {
        let settings = &self.inner.settings;
        fs::write(scratch.join("job.json"), serde_json::to_vec(job)?)?;
        let mut command = Command::new(&settings.program);
        command
            .arg0("secateur")
            .args(["attempt", "--log-filter", &settings.log_filter, "--scratch"])
            .arg(scratch)
            .env_clear()
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .env("TMPDIR", scratch)
            .current_dir(scratch)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.inner.spawner.spawn(command).await?;
        let process_id = child.id();
        let (news_sender, news) = mpsc::channel(NEWS_CAPACITY);
        let (orders, orders_receiver) = watch::channel(Order::Run);
        let supervised = Supervised {
            child,
            scratch: scratch.to_path_buf(),
            log_fields: job.log_fields.clone(),
            deadline: Duration::from_millis(job.limits.deadline_ms),
            drain_grace: settings.drain_grace,
            pipe_grace: PIPE_GRACE,
            orders: orders_receiver,
            news: news_sender,
        };
        tokio::spawn(supervised.run());
        Ok(Attempt { news, control: AttemptControl { orders: Arc::new(orders) }, process_id })
    }

    /// Looks into an uploaded model and the data files beside it, by name, in a child with limits of its own.
    ///
    /// Errors: what is wrong with the upload, or `out_of_memory`, `runtime_crash`, `deadline_exceeded` where looking at
    /// it took too much.
    pub async fn inspect_model(
        &self,
        file: &Path,
        data: BTreeMap<String, PathBuf>,
        limits: ModelLimits,
    ) -> Result<InspectedModel, Failure> {
        let bytes = std::iter::once(file).chain(data.values().map(PathBuf::as_path)).map(file_bytes).sum();
        let task = Task::InspectModel { file: file.to_path_buf(), data, limits };
        match self.inspect(task, bytes).await? {
            (Inspection::Model(summary), scratch) => Ok(InspectedModel { summary, scratch }),
            (Inspection::Dataset(_), _) => Err(unexpected()),
        }
    }

    /// Looks into an uploaded dataset in a child with limits of its own; errors as [`Self::inspect_model`].
    pub async fn inspect_dataset(
        &self,
        file: &Path,
        preprocess: Option<Preprocess>,
        limits: DatasetLimits,
    ) -> Result<DatasetSummary, Failure> {
        match self.inspect(Task::InspectDataset { file: file.to_path_buf(), preprocess, limits }, 0).await? {
            (Inspection::Dataset(summary), _) => Ok(summary),
            (Inspection::Model(_), _) => Err(unexpected()),
        }
    }

    /// `rewrites`: bytes that the child may write in another form.
    async fn inspect(&self, task: Task, rewrites: u64) -> Result<(Inspection, Scratch), Failure> {
        let inner = &self.inner;
        // The semaphore is never closed.
        let _permit = inner.inspections.acquire().await;
        let scratch = inner.scratch.inspection().map_err(|error| cannot("make a scratch directory", &error))?;
        let mut limits = inner.settings.inspection;
        // Tensors may share their place in a data file (`onnx::storage::external` bounds how much).
        limits.file_bytes = limits.file_bytes.saturating_add(rewrites.saturating_mul(3));
        let job = AttemptJob { task, limits, threads: 1, log_fields: BTreeMap::new() };
        let mut attempt = self.start(scratch.path(), &job).await.map_err(|error| cannot("start an attempt", &error))?;
        loop {
            match attempt.next().await {
                News::Message(_) => {}
                News::Ended(Ending::Inspected(inspection)) => return Ok((inspection, scratch)),
                News::Ended(Ending::Failed(failure)) => return Err(failure),
                News::Ended(Ending::Finished(_) | Ending::Interrupted | Ending::Killed) => {
                    return Err(Failure::new(
                        FailureCode::WorkerLost,
                        "the server is shutting down; upload again later",
                    ));
                }
            }
        }
    }
}

fn file_bytes(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |found| found.len())
}

fn unexpected() -> Failure {
    Failure::new(FailureCode::Internal, "the inspection answered another question than it was asked")
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let code = if full { FailureCode::StorageFull } else { FailureCode::Internal };
    Failure::new(code, format!("cannot {what}: {error}"))
}
