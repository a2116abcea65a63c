//! `worker`: runs jobs of a service whose database and data directory it shares.

use anyhow::Result;
use clap::Args;

use super::arguments::{ContentArguments, InspectArguments, StateArguments, WorkArguments};
use super::environment::Environment;
use super::{parts, shutdown};
use crate::worker::Worker;

/// Runs jobs of a service elsewhere; needs its database and its data directory
#[derive(Clone, Debug, Args)]
pub(super) struct WorkerArguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    work: WorkArguments,
    #[command(flatten)]
    inspect: InspectArguments,
    #[command(flatten)]
    content: ContentArguments,
}

pub(super) async fn run(arguments: WorkerArguments, environment: &Environment, log_filter: &str) -> Result<()> {
    let shutdown = shutdown::on_signals()?;
    let url = arguments.state.named_database()?;
    let data = parts::data_dir(&arguments.state, environment)?;
    let database = parts::database(&arguments.state, url).await?;
    // Refused here and not at the first job, where the schema is older than this program.
    database.ready().await?;
    let objects = parts::objects(&data)?;
    let launcher = parts::launcher(&data, environment, log_filter, &arguments.inspect, &arguments.work)?;
    let settings = parts::worker_settings(&arguments.work, &arguments.content);
    let worker = Worker::start(database.clone(), objects, launcher, settings, shutdown).await?;
    worker.drained().await;
    database.close().await;
    Ok(())
}
