//! Samples that stand for a dataset where there is none: drawn from what the caller says of each input ([`draw`]), and moved
//! until the model's normalisations see the statistics that they keep from training ([`settle`]).
//!
//! What comes out is a dataset without labels, which calibration takes as any other.

mod draw;
mod settle;
#[cfg(test)]
mod tests;

use crate::data::{DataError, Dataset, NamedArray};
use crate::engine::EngineError;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::spec::prune::PruneSpec;
use crate::spec::report::{SyntheticInput, SyntheticReport};

use draw::Input;

/// Samples that are moved together, where the model's batch is free: their statistics are those that are matched.
const BATCH: usize = 32;

/// One sample is held out for so many that are fitted to.
const HELD_OUT: usize = 4;

/// Why samples cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    #[error("the input `{input}` {reason}")]
    Input { input: String, reason: String },
    #[error("`{name}` is no input of the model; it has {inputs}")]
    NoSuchInput { name: String, inputs: String },
    #[error("the size of axis `{axis}` of the input `{input}` is open: give `example_shapes`")]
    OpenAxis { input: String, axis: String },
    #[error(
        "the model has no BatchNormalization with statistics to match: exports for inference fold it into the convolutions"
    )]
    NoBatchNorm,
    #[error("the statistics of its BatchNormalization cannot be matched: {0}")]
    NoGradient(String),
    #[error(transparent)]
    Samples(#[from] DataError),
    #[error(
        "the statistics of its BatchNormalization cannot be matched, for the graph of the gradients does not run: {0}"
    )]
    Engine(#[from] EngineError),
}

impl SyntheticError {
    /// Where in the request that is.
    pub fn place(&self) -> String {
        match self {
            Self::Input { input: name, .. } | Self::NoSuchInput { name, .. } => {
                format!("/spec/synthetic/inputs/{}", name.replace('~', "~0").replace('/', "~1"))
            }
            Self::OpenAxis { .. } => "/spec/example_shapes".into(),
            Self::NoBatchNorm | Self::NoGradient(_) | Self::Engine(_) => "/spec/synthetic/match_batch_norm".into(),
            Self::Samples(_) => "/spec/synthetic".into(),
        }
    }
}

/// Samples that were made.
#[derive(Debug)]
pub struct Made {
    pub dataset: Dataset,
    pub report: SyntheticReport,
}

/// Makes the samples that the spec's `synthetic` asks for: enough to fit to as many as it says, and to hold some out.
///
/// Errors: an input that nothing can be drawn for, or statistics that cannot be matched.
/// Cost: as matching goes, one pass forward and one back over all samples for each step.
pub fn make(model: &Model, spec: &PruneSpec, threads: usize) -> Result<Made, SyntheticError> {
    let wishes = spec.synthetic.clone().unwrap_or_default();
    let inputs = draw::inputs(model, &wishes, &spec.example_shapes)?;
    let batch = draw::fixed_batch(model).unwrap_or(BATCH);
    let fitting = spec.calibration_samples as usize;
    let samples = (fitting + fitting.div_ceil(HELD_OUT)).next_multiple_of(batch);
    let named = |(input, tensor): (&Input, Tensor)| NamedArray { name: input.name.clone(), tensor };
    let mut arrays: Vec<NamedArray> = inputs.iter().zip(draw::draw(&inputs, samples, spec.seed)?).map(named).collect();
    let mut batch_norm = None;
    if wishes.match_batch_norm {
        let drawn = Dataset::of_samples(arrays.clone())?;
        let (settled, report) = settle::settle(model, &inputs, &drawn, batch, threads)?;
        for (name, tensor) in settled {
            arrays.iter_mut().filter(|array| array.name == name).for_each(|array| array.tensor = tensor.clone());
        }
        batch_norm = Some(report);
    }
    let described = |input: &Input| SyntheticInput {
        name: input.name.clone(),
        sample_shape: input.sample_shape.iter().map(|size| *size as u64).collect(),
        distribution: input.distribution.clone(),
    };
    let report = SyntheticReport {
        samples: samples as u64,
        seed: spec.seed,
        inputs: inputs.iter().map(described).collect(),
        batch_norm,
    };
    Ok(Made { dataset: Dataset::of_samples(arrays)?, report })
}
