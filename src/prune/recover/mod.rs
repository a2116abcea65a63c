//! Recovery without labels: what a cut took from a model's function is won back from the activations of the original.
//!
//! A ladder of rungs, each by itself and each measured on held-out samples: biases ([`bias`]), normalisation statistics
//! ([`batch_norm`]), weights in closed form ([`least_squares`]). Rungs go through the model from its inputs to its outputs
//! ([`frontier`]), so that each layer also makes up for what is left of the losses before it. What does not bring the
//! outputs nearer is not kept. Knows nothing of how the model was cut but which channels are left.

mod batch_norm;
mod bias;
mod change;
mod frontier;
mod gap;
mod layer;
mod least_squares;
#[cfg(test)]
mod real_models;
mod ridge;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::data::Calibration;
use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::spec::prune::Rung;
use crate::spec::report::{Frozen, RecoveryReport, RepairedLayer};

use super::drift;
use super::error::PruneError;
use super::surgery::Plan;
use frontier::Frontier;
pub use gap::{Inputs as LayerInputs, draw_positions};
pub use layer::{Kind, Layer, find as layers};

/// What a cut model is recovered from.
#[derive(Clone, Copy, Debug)]
pub struct Recovery<'a> {
    pub original: &'a Model,
    /// Shapes of the original.
    pub inferred: &'a Inferred,
    pub calibration: &'a Calibration<'a>,
    /// The channels that went; `None` where only values changed.
    pub plan: Option<&'a Plan>,
    /// Whether weights that are zero have to stay zero.
    pub keep_zeros: bool,
    pub threads: usize,
    pub seed: u64,
}

/// What a rung did to a model.
#[derive(Debug, Default)]
struct Repaired {
    layers: Vec<RepairedLayer>,
    skipped: Vec<Frozen>,
}

impl Recovery<'_> {
    /// Climbs the rungs in order.
    ///
    /// Errors: a sample cannot be read, or a model does not run on it.
    pub fn climb(&self, cut: Model, rungs: &[Rung]) -> Result<(Model, Vec<RecoveryReport>), PruneError> {
        let held_out = self.calibration.held_out();
        let drift = |model: &Model| drift::measure(self.original, model, held_out, self.threads);
        let (mut model, mut reports) = (cut, Vec::new());
        let mut before = drift(&model)?;
        for rung in rungs {
            let start = Instant::now();
            let mut tried = model.clone();
            let repaired = match rung {
                Rung::Bias => bias::correct(self, &mut tried)?,
                Rung::BatchNorm => batch_norm::estimate(self, &mut tried)?,
                Rung::LeastSquares => least_squares::repair(self, &mut tried)?,
            };
            let after = drift(&tried)?;
            let kept = !repaired.layers.is_empty() && after.output_error <= before.output_error;
            reports.push(RecoveryReport {
                rung: *rung,
                samples: self.calibration.fitting().len() as u64,
                before: before.clone(),
                after: after.clone(),
                kept,
                layers: repaired.layers,
                skipped: repaired.skipped,
                duration_ms: start.elapsed().as_millis() as u64,
            });
            if kept {
                (model, before) = (tried, after);
            }
        }
        Ok((model, reports))
    }

    /// Where a layer of the cut model stands in the original, which may have nodes that the cut model lost.
    fn original_node(&self, cut: &Model, layer: &Layer) -> NodeIndex {
        let output = cut.graph().node(layer.node).output.first();
        let found = output.and_then(|output| self.original.graph().producer(output));
        found.map_or(0, |(node, _)| node)
    }

    fn frontier(&self) -> Frontier<'_> {
        Frontier::new(self.calibration.fitting(), self.inferred, self.threads)
    }
}
