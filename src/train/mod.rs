//! Retraining: the loop over epochs, the optimizer, schedules, validation, checkpoints.
//!
//! The training graph ([`crate::autodiff`]) computes loss and gradients on ONNX Runtime; everything that is not a tensor
//! operation happens here, in Rust, on flat buffers ([`state`]). A training is a pure function of model, dataset and spec:
//! it can be stopped between any two steps and goes on from its checkpoint to the same bytes.

pub mod checkpoint;
mod error;
mod export;
mod optimizer;
mod prepare;
mod run;
mod schedule;
pub mod state;
pub mod step;
mod untie;
mod validate;

pub use error::TrainError;
pub use optimizer::Sgd;
pub use prepare::{Prepared, prepare};
pub use run::{Context, Retrained, retrain};
