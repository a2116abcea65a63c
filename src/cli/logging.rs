//! Logs of the service: standard error, as text for people or as lines of JSON for machines.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Debug, Args)]
pub(super) struct LogArguments {
    /// Form of the logs on standard error
    #[arg(long, env = "SECATEUR_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    log_format: LogFormat,
    /// What is logged: a level, or directives like secateur=debug,sqlx=warn
    #[arg(long, env = "RUST_LOG", default_value = "info,sqlx=warn", value_name = "FILTER", global = true)]
    pub(super) log_filter: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Starts logging for the rest of this process.
pub(super) fn start(arguments: &LogArguments) -> Result<()> {
    let filter = EnvFilter::try_new(&arguments.log_filter)
        .with_context(|| format!("{} is no filter for logs", arguments.log_filter))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match arguments.log_format {
        LogFormat::Text => logs.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}
