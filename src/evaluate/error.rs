//! Why a model could not be evaluated.

use crate::data::DataError;
use crate::engine::EngineError;
use crate::spec::failure::{Failure, FailureCode};

/// Why a model could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Data(#[from] DataError),
    /// The observer asked to stop.
    #[error("the evaluation was interrupted")]
    Interrupted,
    #[error("the model has no output `{name}`; it has {found}")]
    NoSuchOutput { name: String, found: String },
    /// The output holds no scores of classes.
    #[error("output `{output}` cannot be scored: {reason}")]
    NotScores { output: String, reason: String },
    #[error("the scores that output `{output}` gives for sample {sample} are not finite numbers")]
    NotFinite { output: String, sample: usize },
    #[error("the dataset has no labels")]
    NoLabels,
    #[error("sample {sample} has the label {label}, but output `{output}` scores {classes} classes")]
    LabelBeyondClasses { sample: usize, label: i64, output: String, classes: usize },
}

impl From<EvaluateError> for Failure {
    fn from(error: EvaluateError) -> Self {
        let message = error.to_string();
        match error {
            EvaluateError::Engine(source) => source.into(),
            EvaluateError::Data(source) => source.into(),
            // Whoever asked to stop knows why; this code is what a user who cancelled sees.
            EvaluateError::Interrupted => Self::new(FailureCode::Cancelled, message),
            EvaluateError::NoSuchOutput { .. } => Self::new(FailureCode::InvalidSpec, message).at("/spec/output"),
            EvaluateError::NotScores { output, .. } => Self::new(FailureCode::InvalidSpec, message).at(output),
            EvaluateError::NotFinite { output, .. } => Self::new(FailureCode::Unsupported, message).at(output),
            EvaluateError::NoLabels => Self::new(FailureCode::DatasetMismatch, message),
            EvaluateError::LabelBeyondClasses { output, .. } => {
                Self::new(FailureCode::DatasetMismatch, message).at(output)
            }
        }
    }
}
