//! What the loss changes by, to the first order, when weights go.

use super::gradients::Over;
use super::loss_change::LossChange;

/// `(Σ g · w)²` over the weights of a unit, or of a single weight, where `g` is the gradient of the mean loss of a batch;
/// the mean over the batches.
///
/// Units: loss²; ≥ 0, higher = keep. Comparable across groups as it is.
/// Source: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019. Differs: over the
/// weights that write a unit and those that read it, as in Fang et al., "DepGraph", CVPR 2023; the gradients are those of
/// the model as it infers.
pub const TAYLOR: LossChange = LossChange { criterion: "taylor", over: Over::Batch };
