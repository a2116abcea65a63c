//! The running server: started as a child or adopted from a service that died, watched, stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::cluster::Cluster;

/// How long a fast shutdown may take (it writes a checkpoint) before the server is told to drop everything, which costs
/// a replay of its log at the next start and nothing else.
const STOP_PATIENCE: Duration = Duration::from_mins(1);

/// How long processes of a server that was killed may need to notice it and end.
const SURVIVOR_PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// A server process.
#[derive(Debug)]
pub(super) struct Postmaster {
    process: Process,
    socket_directory: PathBuf,
    data: PathBuf,
}

#[derive(Debug)]
enum Process {
    Child(Child),
    Adopted(Pid),
}

impl Postmaster {
    pub(super) async fn adopt_or_start(cluster: &Cluster) -> Result<Self> {
        let data = cluster.data().canonicalize()?;
        if let Some(found) = PidFile::read(&data) {
            if found.is_alive(&data) && found.is_stopping() {
                info!("PostgreSQL is stopping; waiting for its end");
                wait_until(SURVIVOR_PATIENCE + STOP_PATIENCE, || !found.is_alive(&data)).await;
            }
            if found.is_alive(&data) {
                info!("Adopted the PostgreSQL (process {}) of a service that died", found.pid.as_raw_nonzero());
                return Ok(Self {
                    process: Process::Adopted(found.pid),
                    socket_directory: found.socket_directory,
                    data,
                });
            }
        }
        Self::start(cluster, cluster.socket_directory()?).await
    }

    pub(super) async fn start(cluster: &Cluster, socket_directory: PathBuf) -> Result<Self> {
        let data = cluster.data().canonicalize()?;
        // Backends of a killed server end by themselves; until then the shared memory is theirs and no server starts.
        if !wait_until(SURVIVOR_PATIENCE, || !has_processes(&data)).await {
            bail!("processes of a PostgreSQL that was killed still work in {}", data.display());
        }
        // Nobody is left, so whatever this file says is void; the process id in it may be another program's by now, and
        // the server would not start for fear of it.
        match fs::remove_file(data.join("postmaster.pid")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("removing postmaster.pid");
            }
            _ => {}
        }
        let child = cluster.postgres(&socket_directory)?.spawn().context("starting postgres")?;
        Ok(Self { process: Process::Child(child), socket_directory, data })
    }

    pub(super) fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    pub(super) fn has_ended(&mut self) -> bool {
        match &mut self.process {
            Process::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Process::Adopted(pid) => !works_in(*pid, &self.data),
        }
    }

    pub(super) async fn ended(&mut self) {
        if let Process::Child(child) = &mut self.process {
            let _ = child.wait().await;
            return;
        }
        while !self.has_ended() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        for (signal, patience) in [(Signal::INT, STOP_PATIENCE), (Signal::QUIT, SURVIVOR_PATIENCE)] {
            let pid = match &self.process {
                Process::Child(child) => child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
                Process::Adopted(pid) => Some(*pid),
            };
            let Some(pid) = pid else { break };
            if !self.has_ended() {
                let _ = kill_process(pid, signal);
            }
            let until = Instant::now() + patience;
            while !self.has_ended() && Instant::now() < until {
                sleep(POLL).await;
            }
            if self.has_ended() {
                break;
            }
            warn!("PostgreSQL does not stop; telling it to drop everything");
        }
        if !self.has_ended() {
            bail!("PostgreSQL does not stop");
        }
        // Of no use without a server; the next start makes a new one.
        let _ = fs::remove_dir_all(&self.socket_directory);
        Ok(())
    }
}

/// `postmaster.pid`: line 1 the process, line 5 the socket's directory, line 8 the state.
struct PidFile {
    pid: Pid,
    socket_directory: PathBuf,
    state: String,
}

impl PidFile {
    fn read(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = lines.first()?.parse().ok().and_then(Pid::from_raw)?;
        let socket_directory = PathBuf::from(lines.get(4)?);
        let state = lines.get(7).copied().unwrap_or_default().to_owned();
        socket_directory.is_absolute().then_some(Self { pid, socket_directory, state })
    }

    fn is_alive(&self, data: &Path) -> bool {
        works_in(self.pid, data)
    }

    fn is_stopping(&self) -> bool {
        self.state == "stopping"
    }
}

/// Whether the process runs in `data`, as the server and its backends do; a process id that was given to another
/// program does not.
fn works_in(pid: Pid, data: &Path) -> bool {
    fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|cwd| cwd == data)
}

fn has_processes(data: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data))
}

async fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + patience;
    while !done() {
        if Instant::now() > until {
            return false;
        }
        sleep(POLL).await;
    }
    true
}
