//! The attempt process: one pipeline run, or one look into an upload, in a child that limits itself; and its launcher.
//!
//! Two sides share this module and nothing else than a scratch directory, a pipe each way and [`crate::spec::attempt`]:
//!
//! - **Parent**: [`launcher`] starts children from one permanent thread, hands out what they tell ([`listener`]),
//!   enforces deadline, drain and kill; [`death`] says what an ended process means; [`scratch`] gives each attempt its directory and sweeps
//!   those whose owner is dead.
//! - **Child**: [`process`] is the hidden subcommand. It ties itself to its parent, lowers its limits ([`limits`]),
//!   watches its memory ([`watchdog`]), runs the task and leaves `outcome.json` ([`outcome`]).
//!
//! Knows nothing of HTTP, SQL or the object store. The child has no credentials: its environment is the launcher's short
//! list ([`launcher::ENVIRONMENT`]), its inputs are files.

pub mod death;
pub mod launcher;
pub mod limits;
mod listener;
mod logs;
pub mod outcome;
pub mod process;
mod reporter;
pub mod scratch;
mod spawner;
mod supervise;
mod watchdog;
