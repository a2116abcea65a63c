//! The command line: `serve`, `worker`, `migrate`, `openapi`, and the hidden `attempt`.
//!
//! This is the only place that reads the environment: every option has a variable, and what the other layers need comes
//! to them as values.

mod arguments;
mod data_dir;
pub mod embedded;
mod environment;
mod logging;
mod machine;
mod migrate;
mod parts;
mod serve;
mod shutdown;
mod size;
mod worker;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};

use self::environment::Environment;
use crate::attempt;
use crate::http;

/// Makes trained neural networks smaller and faster.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, about)]
struct Arguments {
    #[command(flatten)]
    log: logging::LogArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArguments>),
    Worker(Box<worker::WorkerArguments>),
    Migrate(migrate::MigrateArguments),
    /// Prints the API's contract (openapi.yaml)
    Openapi,
    /// Runs one attempt in this process (started by a worker, never by hand)
    #[command(hide = true)]
    Attempt {
        /// The attempt's directory.
        #[arg(long)]
        scratch: PathBuf,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Arguments { log, command } = Arguments::parse();
    if let Command::Attempt { scratch } = &command {
        return attempt::process::main(scratch, &log.log_filter);
    }
    match run(&log, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To whoever typed the command, in one line a cause; the log may go elsewhere.
            let _ = writeln!(std::io::stderr(), "secateur: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(log: &logging::LogArguments, command: Command) -> Result<()> {
    logging::start(log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let result = match command {
        Command::Serve(arguments) => runtime.block_on(serve::run(*arguments, &Environment::read(), &log.log_filter)),
        Command::Worker(arguments) => runtime.block_on(worker::run(*arguments, &Environment::read(), &log.log_filter)),
        Command::Migrate(arguments) => runtime.block_on(migrate::run(arguments)),
        Command::Openapi => print_contract(),
        Command::Attempt { .. } => Err(anyhow!("an attempt does not come this way")),
    };
    // A blocking read that hangs (a file system that went away) must not hold up the end.
    runtime.shutdown_background();
    result
}

fn print_contract() -> Result<()> {
    let contract = http::openapi_yaml().map_err(|error| anyhow!(error)).context("making the contract")?;
    std::io::stdout().write_all(contract.as_bytes()).context("writing the contract")
}
