//! What can go wrong between a graph and its outputs.

use crate::onnx::dtype::DataType;
use crate::spec::failure::{Failure, FailureCode};

/// Why an engine did not give outputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error(
        "ONNX Runtime cannot be used: {}. `make setup` fetches the library; ORT_DYLIB_PATH names one elsewhere",
        tried.join("; ")
    )]
    Unavailable {
        /// Each place that was looked at and what was wrong with it.
        tried: Vec<String>,
    },
    /// The file is not a model that any engine would take.
    #[error("{engine} refuses the model: {message}")]
    Invalid { engine: &'static str, message: String },
    /// The model may be sound, but the engine cannot load it.
    #[error("{engine} cannot load the model: {message}")]
    Load { engine: &'static str, message: String },
    /// The model was loaded, but does not run on these inputs.
    #[error("{engine} cannot run the model: {message}")]
    Run { engine: &'static str, message: String },
    /// The second engine does not do what this model needs; no judgement of the model.
    #[error("tract declines the model: {reason}")]
    Declined { reason: String },
    #[error("memory ran out while the model was loaded or run: {message}")]
    OutOfMemory { message: String },
    #[error("input `{name}` has the element type {dtype}, which {engine} does not take")]
    InputType { engine: &'static str, name: String, dtype: DataType },
    #[error("output `{name}` is {kind}, not a tensor of numbers")]
    OutputType { name: String, kind: String },
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Unavailable { .. } => FailureCode::EngineUnavailable,
            EngineError::Invalid { .. } => FailureCode::InvalidModel,
            EngineError::OutOfMemory { .. } => FailureCode::OutOfMemory,
            EngineError::Load { .. }
            | EngineError::Run { .. }
            | EngineError::Declined { .. }
            | EngineError::InputType { .. }
            | EngineError::OutputType { .. } => FailureCode::Unsupported,
        };
        let failure = Self::new(code, error.to_string());
        match error {
            EngineError::InputType { name, .. } | EngineError::OutputType { name, .. } => failure.at(name),
            _ => failure,
        }
    }
}
