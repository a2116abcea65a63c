//! The queue against the real SQL.

mod cancel;
mod claim;
mod deadline;
mod fencing;
mod machine;
mod publish;
mod recovery;
mod signal;
mod step;
