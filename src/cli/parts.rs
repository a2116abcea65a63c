//! Makes the parts that `serve` and `worker` share out of their options.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::{info, warn};

use super::arguments::{ContentArguments, InspectArguments, StateArguments, WorkArguments};
use super::data_dir::DataDir;
use super::environment::Environment;
use super::machine;
use crate::attempt::launcher::{Launcher, LauncherSettings};
use crate::attempt::scratch::ScratchRoot;
use crate::spec::attempt::Limits;
use crate::store::collector::DEFAULT_GRACE;
use crate::store::database::Database;
use crate::store::object::Objects;
use crate::worker::WorkerSettings;

/// Files that an attempt may have open: models, archives and libraries are a few dozen.
const OPEN_FILES: u64 = 1024;

/// Largest file that a look into an upload may write: it writes its outcome.
const INSPECTION_FILE_BYTES: u64 = 64 << 20;

/// This program, also where its file was replaced by a newer one since it started.
const PROGRAM: &str = "/proc/self/exe";

pub(super) fn data_dir(arguments: &StateArguments, environment: &Environment) -> Result<DataDir> {
    match &arguments.data_dir {
        Some(path) => DataDir::open(path),
        None => DataDir::open(&DataDir::default_path(environment.data_home.clone(), environment.home.clone())?),
    }
}

pub(super) async fn database(arguments: &StateArguments, url: &str) -> Result<Database> {
    Database::connect(url, arguments.database_connections).await.context("connecting to PostgreSQL")
}

/// The object store and everything else that only this service's user may read.
pub(super) fn objects(data: &DataDir) -> Result<Objects> {
    private(&data.objects())?;
    Objects::open(&data.objects()).context("opening the object store")
}

pub(super) fn launcher(
    data: &DataDir,
    environment: &Environment,
    log_filter: &str,
    inspect: &InspectArguments,
    work: &WorkArguments,
) -> Result<Launcher> {
    private(&data.scratch())?;
    let scratch = ScratchRoot::open(&data.scratch()).context("making a scratch directory")?;
    match &environment.onnx_runtime {
        Ok(path) => info!("ONNX Runtime is {}", path.display()),
        Err(error) => warn!("{error}"),
    }
    let settings = LauncherSettings {
        program: PathBuf::from(PROGRAM),
        environment: environment.attempts.clone(),
        log_filter: log_filter.to_owned(),
        drain_grace: work.drain_grace,
        inspection: Limits {
            memory_bytes: inspect.inspect_memory,
            deadline_ms: milliseconds(inspect.inspect_time),
            file_bytes: INSPECTION_FILE_BYTES,
            open_files: OPEN_FILES,
        },
        concurrent_inspections: machine::processors() as usize,
    };
    Launcher::new(settings, Arc::new(scratch)).context("starting the launcher")
}

pub(super) fn worker_settings(work: &WorkArguments, content: &ContentArguments) -> WorkerSettings {
    let share = work.workers.max(1);
    WorkerSettings {
        slots: work.workers,
        threads: work.threads.unwrap_or_else(|| (machine::processors() / u32::from(share)).max(1)),
        memory_bytes: work.job_memory.unwrap_or_else(|| machine::memory_bytes() / 4 * 3 / u64::from(share)),
        file_bytes: work.job_file,
        open_files: OPEN_FILES,
        lease: work.lease,
        poll: work.poll,
        checkpoint_interval: work.checkpoint_interval,
        retention: work.retention,
        collector_grace: DEFAULT_GRACE,
        model_limits: content.model_limits(),
        dataset_limits: content.dataset_limits(),
    }
}

/// Makes a folder that only this service's user can enter.
fn private(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(|| format!("closing {}", path.display()))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
