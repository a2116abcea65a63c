//! Why a training ended without a model.

use std::io;

use crate::autodiff::loss::LossError;
use crate::data::DataError;
use crate::engine::EngineError;
use crate::onnx::batch::BatchError;
use crate::onnx::raise::RaiseError;
use crate::spec::failure::{Failure, FailureCode};

/// Why a training ended without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// It was asked to stop and left a checkpoint; no failure.
    #[error("the training was interrupted and left a checkpoint")]
    Interrupted,
    #[error(
        "the training diverged at step {step} (epoch {epoch}), at the learning rate {learning_rate}: its numbers are no longer finite; a tenth of it, or a warm-up of some hundred steps, usually helps"
    )]
    Diverged { step: u64, epoch: u64, learning_rate: f64 },
    /// Nothing in the model can be trained; the reason is that of the first weight.
    #[error("no weight of the model can be trained: {reason}")]
    NothingToTrain { reason: String },
    #[error("the model was exported for batches of one size, which training needs to choose: {0}")]
    FixedBatch(#[from] BatchError),
    #[error("the dataset has no labels, which cross-entropy needs")]
    NoLabels,
    #[error("the dataset has samples of class {label}, but the model tells {classes} classes apart")]
    Classes { label: i64, classes: usize },
    #[error("one sample is not enough to train on")]
    TooFewSamples,
    #[error(transparent)]
    Loss(#[from] LossError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Raise(#[from] RaiseError),
    #[error("the checkpoint cannot be written: {0}")]
    Checkpoint(#[source] io::Error),
    #[error(transparent)]
    Export(#[from] super::export::ExportError),
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        let message = error.to_string();
        let code = match error {
            TrainError::Engine(error) => return error.into(),
            TrainError::Data(error) => return error.into(),
            TrainError::Raise(error) => return error.into(),
            TrainError::Loss(LossError::NoOutput(_)) => {
                return Self::new(FailureCode::InvalidSpec, message).at("/output");
            }
            TrainError::Interrupted => FailureCode::Cancelled,
            TrainError::Diverged { .. } => FailureCode::Diverged,
            TrainError::NothingToTrain { .. } | TrainError::FixedBatch(_) | TrainError::Loss(_) => {
                FailureCode::Unsupported
            }
            TrainError::NoLabels | TrainError::Classes { .. } | TrainError::TooFewSamples => {
                FailureCode::DatasetMismatch
            }
            TrainError::Checkpoint(error) if error.kind() == io::ErrorKind::StorageFull => FailureCode::StorageFull,
            TrainError::Checkpoint(_) | TrainError::Export(_) => FailureCode::Internal,
        };
        Self::new(code, message)
    }
}
