//! Share of the activations that are not zero.

use super::observed::{Evidence, by_activation};
use super::{ImportanceError, Magnitude};
use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::spec::prune::Reduction;

/// 1 − the average percentage of zeros among what the next contractions read of a unit, on the samples.
///
/// Units: a share in `[0, 1]`, higher = keep. Says something only behind operators that give exact zeros, such as ReLU.
/// Source: Hu et al., "Network Trimming", arXiv 1607.03250, equation 1.
pub fn scores(
    graph: &Graph<'_>,
    coupling: &Coupling,
    evidence: &Evidence<'_>,
    reduction: Reduction,
) -> Result<Vec<Option<f64>>, ImportanceError> {
    by_activation(graph, coupling, evidence, &NotZero, reduction)
}

#[derive(Clone, Copy, Debug)]
struct NotZero;

impl Magnitude for NotZero {
    fn of(&self, activation: f32) -> f64 {
        if activation.is_nan() { f64::NAN } else { f64::from(u8::from(activation != 0.0)) }
    }

    fn finish(&self, sum: f64, count: u64) -> f64 {
        sum / count as f64
    }
}
