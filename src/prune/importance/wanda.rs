//! Weights times the activations that they meet.

use super::ImportanceError;
use super::l1::L1;
use super::observed::{Evidence, by_weight_and_activation, scaled};
use super::single::Elements;
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

/// `|w| · √mean(x²)` of each weight; `None` for constants whose operands are not told. Where several operators use a
/// constant, the mean squares of their operands are added, as if all had gone through one.
///
/// Source: as [`scores`], which compares the weights of one output with each other.
pub fn of_weights(
    constants: &[Elements<'_>],
    evidence: &Evidence<'_>,
) -> Result<Vec<Option<Vec<f64>>>, ImportanceError> {
    let squares = evidence.mean_squares(constants.iter().filter_map(|c| c.operands.as_deref()).flatten().copied())?;
    let score = |constant: &Elements<'_>| {
        let mut sums = vec![0.0; constant.values.len()];
        for operand in constant.operands.as_deref()? {
            let norms: Vec<f32> =
                squares.get(&(operand.value, operand.axis))?.iter().map(|square| square.sqrt() as f32).collect();
            let products = scaled(constant.values, constant.shape, operand.weight_axis, operand.groups, &norms);
            sums.iter_mut().zip(&products).for_each(|(sum, product)| *sum += f64::from(*product).powi(2));
        }
        for sum in &mut sums {
            *sum = sum.sqrt();
        }
        Some(sums)
    };
    Ok(constants.iter().map(score).collect())
}
