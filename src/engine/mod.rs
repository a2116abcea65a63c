//! Running a graph: ONNX Runtime and tract behind one small trait.
//!
//! ONNX Runtime is the reference: it trains, evaluates and measures. tract is the second opinion of certificates; what it
//! cannot run it declines, with the reason. Nothing here knows why a graph is run.

mod error;
mod library;
mod options;
mod runtime;
mod tract;
mod values;

pub use error::EngineError;
pub use library::locate;
pub use options::{Optimization, SessionOptions};
pub use runtime::{OnnxRuntime, onnx_runtime};
pub use tract::{Tract, tract};

use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;

/// A library that runs ONNX graphs.
pub trait Engine: Sync {
    /// The name that reports use: `onnxruntime` or `tract`.
    fn name(&self) -> &'static str;

    /// The library's version, where it tells one.
    fn version(&self) -> Option<String>;

    /// Prepares a model for running. The model's memory is not needed afterwards.
    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Session>, EngineError>;
}

/// A model that is ready to run. Each thread that runs has a session of its own.
pub trait Session: Send {
    /// Names of the graph's outputs, in order.
    fn output_names(&self) -> &[String];

    /// Runs the graph on the named inputs and gives all its outputs in order.
    ///
    /// Feeds are lent to the engine without a copy, and outputs keep the engine's own buffers where it has them. An
    /// operator that writes to its inputs (`BatchNormalization` in training mode does, to the running statistics) writes
    /// to the feed's memory: give it a copy made inside the graph.
    fn run(&mut self, feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError>;
}

#[cfg(test)]
mod conformance;
