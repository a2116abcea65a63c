//! Weights times the activations that they meet.

use super::ImportanceError;
use super::l1::L1;
use super::observed::{Evidence, by_weight_and_activation};
use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::spec::prune::Reduction;

/// `Σ |w| · √mean(x²) ÷ n` over the weights of a unit, where `x` is the channel that a weight is multiplied with, on the
/// samples.
///
/// Units: of the layers' outputs; ≥ 0, higher = keep. Comparable across groups only after normalisation.
/// Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024, equation 1. Differs:
/// summed over the weights of a unit; the mean square in the place of the sum, so that the number of samples does not count.
pub fn scores(
    graph: &Graph<'_>,
    coupling: &Coupling,
    evidence: &Evidence<'_>,
    reduction: Reduction,
) -> Result<Vec<Option<f64>>, ImportanceError> {
    by_weight_and_activation(graph, coupling, evidence, &L1, reduction)
}
