//! `serve`: everything in one process, private PostgreSQL included.
//!
//! Start: lock on the data directory, listening socket (so that a taken port is told before anything is started),
//! PostgreSQL, migrations, worker, requests. Stop, in this order: no new connections, requests end, the worker drains,
//! the pool closes, PostgreSQL stops.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::arguments::{ContentArguments, HttpArguments, InspectArguments, StateArguments, WorkArguments};
use super::data_dir::DataDir;
use super::embedded::{Embedded, EmbeddedSettings};
use super::environment::Environment;
use super::{parts, shutdown};
use crate::http;
use crate::store::idempotency;
use crate::worker::Worker;

/// Pause before a PostgreSQL that ended by itself is started again.
const REVIVE_PAUSE: Duration = Duration::from_secs(1);

/// Runs the service: API, worker and, unless a database is named, a private PostgreSQL
#[derive(Clone, Debug, Args)]
pub(super) struct ServeArguments {
    /// Address of the API; port 0 takes any free port
    #[arg(long, env = "SECATEUR_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    work: WorkArguments,
    #[command(flatten)]
    inspect: InspectArguments,
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    http: HttpArguments,
}

pub(super) async fn run(arguments: ServeArguments, environment: &Environment, log_filter: &str) -> Result<()> {
    let data = parts::data_dir(&arguments.state, environment)?;
    let _lock = data.lock()?;
    let shutdown = shutdown::on_signals()?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listening on {}; name another address with --listen", arguments.listen))?;
    let service = Service { arguments: &arguments, environment, log_filter, listener, shutdown };
    if let Some(url) = &arguments.state.database_url {
        return service.run(&data, url).await;
    }
    let settings = EmbeddedSettings {
        directory: data.postgres(),
        pg_bin: environment.pg_bin.clone(),
        search_path: environment.search_path.clone(),
    };
    let mut postgres = Embedded::start(settings).await.context("starting the private PostgreSQL")?;
    let url = postgres.url();
    let result = tokio::select! {
        result = service.run(&data, &url) => result,
        never = keep_alive(&mut postgres) => match never {},
    };
    postgres.stop().await?;
    result
}

/// Starts a PostgreSQL that ended by itself again, for as long as it takes.
async fn keep_alive(postgres: &mut Embedded) -> std::convert::Infallible {
    loop {
        postgres.ended().await;
        error!("PostgreSQL has ended by itself; starting it again");
        while let Err(error) = postgres.revive().await {
            error!("PostgreSQL cannot be started: {error:#}");
            tokio::time::sleep(REVIVE_PAUSE).await;
        }
    }
}

struct Service<'a> {
    arguments: &'a ServeArguments,
    environment: &'a Environment,
    log_filter: &'a str,
    listener: TcpListener,
    shutdown: CancellationToken,
}

impl Service<'_> {
    async fn run(self, data: &DataDir, url: &str) -> Result<()> {
        let Self { arguments, environment, log_filter, listener, shutdown } = self;
        let database = parts::database(&arguments.state, url).await?;
        database.migrate().await.context("migrating the database")?;
        // The lock on the data directory says that no other process answers requests.
        let freed = idempotency::abandon_all(&mut *database.pool().acquire().await?).await?;
        if freed > 0 {
            info!("Gave back {freed} idempotency keys of requests that a predecessor did not answer");
        }
        let objects = parts::objects(data)?;
        let launcher = parts::launcher(data, environment, log_filter, &arguments.inspect, &arguments.work)?;
        let settings = parts::worker_settings(&arguments.work, &arguments.content);
        let worker =
            Worker::start(database.clone(), objects.clone(), launcher.clone(), settings, shutdown.clone()).await?;

        let address = listener.local_addr()?;
        let settings = arguments.http.settings(&arguments.content);
        let state = http::AppState::new(database.clone(), objects, launcher, settings, shutdown.clone());
        announce(address)?;
        http::serve(state, listener).await;
        worker.drained().await;
        database.close().await;
        Ok(())
    }
}

/// Tells the address on standard output, where scripts look for it, and in the log.
fn announce(address: SocketAddr) -> Result<()> {
    info!("Listening on http://{address}");
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()?;
    Ok(())
}
