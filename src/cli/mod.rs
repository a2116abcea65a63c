//! The command line: `serve`, `worker`, `migrate`, `openapi`, and the hidden `attempt`.
//!
//! This is the only place that reads the environment: every option has a variable, and what the other layers need comes
//! to them as values.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::attempt;

/// Makes trained neural networks smaller and faster.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one attempt in this process (started by a worker, never by hand).
    #[command(hide = true)]
    Attempt {
        /// The attempt's directory.
        #[arg(long)]
        scratch: PathBuf,
        /// Filter of the logs on standard error.
        #[arg(long, default_value = "info")]
        log_filter: String,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Attempt { scratch, log_filter } => attempt::process::main(&scratch, &log_filter),
    }
}
