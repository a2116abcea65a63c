//! Mean absolute activation.

use super::ImportanceError;
use super::l1::L1;
use super::observed::{Evidence, by_activation};
use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::spec::prune::Reduction;

/// `Σ |x| ÷ n` over what the next contractions read of a unit, on the samples.
///
/// Units: of the activations; ≥ 0, higher = keep. Comparable across groups only after normalisation.
/// Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, section 2.2
/// (activation). Differs: absolute values, so that units behind other operators than ReLU can be scored.
pub fn scores(
    graph: &Graph<'_>,
    coupling: &Coupling,
    evidence: &Evidence<'_>,
    reduction: Reduction,
) -> Result<Vec<Option<f64>>, ImportanceError> {
    by_activation(graph, coupling, evidence, &L1, reduction)
}
