//! Job states: enqueue, claim, renew, checkpoint, finish, cancel, rescue. `docs/QUEUE.md` draws the states and says why.
//!
//! - A `jobs` row is the API's object and the queue's entry at once; all that changes it stands here.
//! - A claim raises the row's fencing token. Every later write of the attempt names the [`Lease`] (job and token) and
//!   changes nothing where the job has been taken away: [`QueueError::LeaseLost`] means stop, kill, write nothing.
//! - Only the database's clock decides.
//! - A function that needs several statements wraps them itself (a savepoint where the caller has begun a transaction).
//!
//! It must not know what a job computes, nor how an attempt is run.

mod cancel;
mod checkpoint;
mod claim;
mod ending;
mod enqueue;
mod error;
mod progress;
mod publish;
mod rescue;
mod signal;
mod step;
mod text;
mod transition;

pub use cancel::{CancelOutcome, cancel};
pub use checkpoint::{CheckpointFile, load_checkpoint, save_checkpoint};
pub use claim::{Claim, Lease, Renewal, claim, renew};
pub use ending::{fail, finish_cancelled, release};
pub use enqueue::{NewJob, enqueue};
pub use error::QueueError;
pub use progress::{append_event, set_progress, set_stage};
pub use publish::{Publication, PublishOutcome, StepModel, publish};
pub use rescue::{Rescued, rescue, rescue_from};
pub use signal::{Signal, Signals};
pub use step::{FinishedStep, StepOutcome, finish_step};
pub use transition::{CRASH_CAP, Ending, Next, Standing, next};
