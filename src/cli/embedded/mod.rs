//! The private PostgreSQL of `serve`: made on the first start, adopted where it survived its service, stopped at an
//! orderly end.
//!
//! ```text
//! <data-dir>/postgres/         belongs to the user under which PostgreSQL runs
//!     data/                    the cluster; made as data.new/ and renamed when it is whole
//!     run/                     its socket, where the path is short enough; else a directory under /tmp
//! <data-dir>/postgres.log
//! ```
//!
//! Whoever holds the lock on the data directory owns the server: nobody else starts, adopts or stops it, so there is no
//! race to think of here. It listens on a Unix socket only, inside a directory that no other user can enter, and it is
//! a process group of its own: Ctrl-C on the terminal reaches the service, which stops it last.

mod binaries;
mod cluster;
mod postmaster;
mod user;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use self::cluster::Cluster;
use self::postmaster::Postmaster;

/// Name of the database and of its owner.
const DATABASE: &str = "secateur";

/// How long the server may take until it answers; replaying the log after a crash is part of it.
const START_PATIENCE: Duration = Duration::from_mins(5);

/// Where things are found.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// The directory of cluster, socket and log.
    pub directory: PathBuf,
    /// Folder of the server's programs, where the user names one.
    pub pg_bin: Option<PathBuf>,
    /// The search path of this process.
    pub search_path: Option<OsString>,
}

/// A running private PostgreSQL.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    postmaster: Postmaster,
}

impl Embedded {
    /// Makes what is missing and starts the server, or adopts the one that runs.
    ///
    /// Errors: no server programs (the message has the command that installs them), a directory that PostgreSQL's user
    /// cannot enter, a server that does not start (the message has the end of its log).
    pub async fn start(settings: EmbeddedSettings) -> Result<Self> {
        let cluster = Cluster::prepare(settings).await?;
        let postmaster = Postmaster::adopt_or_start(&cluster).await?;
        let mut embedded = Self { cluster, postmaster };
        embedded.wait_until_ready().await?;
        Ok(embedded)
    }

    /// The database's address.
    pub fn url(&self) -> String {
        url(self.postmaster.socket_directory(), DATABASE)
    }

    /// Waits until the server has ended by itself.
    pub async fn ended(&mut self) {
        self.postmaster.ended().await;
    }

    /// Starts the server again after it ended by itself, at the same address.
    pub async fn revive(&mut self) -> Result<()> {
        self.postmaster = Postmaster::start(&self.cluster, self.postmaster.socket_directory().to_path_buf()).await?;
        self.wait_until_ready().await
    }

    /// Stops the server: open transactions are rolled back, all is on disk when this returns.
    pub async fn stop(self) -> Result<()> {
        self.postmaster.stop().await?;
        info!("PostgreSQL has stopped");
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let maintenance = url(self.postmaster.socket_directory(), "postgres");
        let patience = Instant::now() + START_PATIENCE;
        loop {
            match PgConnection::connect(&maintenance).await {
                Ok(mut connection) => {
                    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                        .bind(DATABASE)
                        .fetch_one(&mut connection)
                        .await?;
                    if !exists {
                        connection.execute("create database secateur").await.context("creating the database")?;
                    }
                    connection.close().await?;
                    return Ok(());
                }
                Err(error) => debug!("PostgreSQL does not answer yet: {error}"),
            }
            if self.postmaster.has_ended() {
                bail!(
                    "PostgreSQL ended while it started; the end of {}:\n{}",
                    self.cluster.log().display(),
                    self.cluster.log_tail()
                );
            }
            if Instant::now() > patience {
                bail!(
                    "PostgreSQL does not answer after {} s; see {}",
                    START_PATIENCE.as_secs(),
                    self.cluster.log().display()
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The address of a database behind the socket in `directory`.
fn url(directory: &Path, database: &str) -> String {
    let host: String = directory
        .to_string_lossy()
        .bytes()
        .map(|byte| match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("postgres://{DATABASE}@localhost/{database}?host={host}")
}
