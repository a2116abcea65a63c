//! The cluster on disk: its folders, its owner, `initdb`.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tracing::info;

use super::binaries::Binaries;
use super::user::RunAs;
use super::{DATABASE, EmbeddedSettings};

/// Longest path of a Unix socket, without the closing zero.
const SOCKET_PATH_BYTES: usize = 107;

/// The socket's name in its directory; no other server shares the directory, so the port never changes.
pub(super) const SOCKET: &str = ".s.PGSQL.5432";

/// A cluster that is whole, and the programs that serve it.
#[derive(Debug)]
pub(super) struct Cluster {
    directory: PathBuf,
    binaries: Binaries,
    run_as: Option<RunAs>,
}

impl Cluster {
    /// Makes the folders and, on the first start, the cluster.
    pub(super) async fn prepare(settings: EmbeddedSettings) -> Result<Self> {
        let EmbeddedSettings { directory, pg_bin, search_path } = settings;
        let run_as = RunAs::choose(&directory)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        if let Some(user) = run_as {
            user.check_way_to(&directory)?;
            user.own(&directory)?;
        }
        let version = fs::read_to_string(directory.join("data/PG_VERSION")).ok();
        let made_by = version.and_then(|version| version.trim().parse().ok());
        let binaries = Binaries::find(pg_bin.as_deref(), search_path.as_deref(), made_by)?;
        let cluster = Self { directory, binaries, run_as };
        if made_by.is_none() {
            cluster.initialise().await?;
        }
        Ok(cluster)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        // Beside the directory, not inside it: what its owner links to must not be opened by root.
        self.directory.with_extension("log")
    }

    /// The last lines of the server's log.
    pub(super) fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Makes a directory for the socket that only PostgreSQL's user and root can enter, with a path that is short enough.
    pub(super) fn socket_directory(&self) -> Result<PathBuf> {
        let near = self.directory.join("run");
        let near_fits = near.join(SOCKET).as_os_str().len() <= SOCKET_PATH_BYTES;
        let directory = if near_fits {
            // What a dead server left there would stop the new one, should its process id be in use again.
            let _ = fs::remove_dir_all(&near);
            near
        } else {
            // An unguessable name: nobody can have made it before us.
            PathBuf::from(format!("/tmp/secateur-{}", uuid::Uuid::new_v4().simple()))
        };
        DirBuilder::new().mode(0o700).create(&directory).with_context(|| format!("making {}", directory.display()))?;
        if let Some(user) = self.run_as {
            user.own(&directory)?;
        }
        Ok(directory)
    }

    /// The command that becomes the server.
    pub(super) fn postgres(&self, socket_directory: &Path) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.log()).context("opening the server's log")?;
        let mut command = self.command(&self.binaries.postgres());
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(socket_directory)
            .args(["-p", "5432", "-c", "listen_addresses=", "-c", "max_connections=200"])
            .args(["-c", "unix_socket_permissions=0700", "-c", "log_min_messages=warning"])
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    async fn initialise(&self) -> Result<()> {
        let new = self.directory.join("data.new");
        // Left by a start that was killed at this point.
        if new.exists() {
            fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))?;
        }
        let mut command = self.command(&self.binaries.initdb());
        command
            .arg("-D")
            .arg(&new)
            .args(["-U", DATABASE, "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--no-locale"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = command.output().await.context("running initdb")?;
        if !output.status.success() {
            bail!(
                "initdb failed ({}):\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        fs::rename(&new, self.data())?;
        File::open(&self.directory)?.sync_all()?;
        info!("Made a private PostgreSQL in {}", self.directory.display());
        Ok(())
    }

    /// A command as PostgreSQL's user, in a group of its own, with nothing of our environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(user) = self.run_as {
            user.apply(&mut command);
        }
        command
    }
}
