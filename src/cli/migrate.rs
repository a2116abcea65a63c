//! `migrate`: brings a database up to this program's schema.

use anyhow::{Context, Result};
use clap::Args;
use tracing::info;

use super::arguments::StateArguments;
use super::parts;

/// Brings a database of your own up to this version's schema (`serve` does so by itself)
#[derive(Clone, Debug, Args)]
pub(super) struct MigrateArguments {
    #[command(flatten)]
    state: StateArguments,
}

pub(super) async fn run(arguments: MigrateArguments) -> Result<()> {
    let database = parts::database(&arguments.state, arguments.state.named_database()?).await?;
    database.migrate().await.context("migrating the database")?;
    info!("The database is up to date");
    Ok(())
}
