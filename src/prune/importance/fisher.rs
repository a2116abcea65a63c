//! What weights tell about single samples: the diagonal of the Fisher information.

use super::gradients::Over;
use super::loss_change::LossChange;

/// `(Σ g · w)²` over the weights of a unit, or of a single weight, where `g` is the gradient of the loss of a sample; the
/// mean over the samples.
///
/// Units: loss²; ≥ 0, higher = keep. To the second order it is twice what the loss grows by when the unit goes.
/// Comparable across groups as it is.
/// Source: Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", arXiv 1801.05787, and
/// for coupled weights Liu et al., "Group Fisher Pruning for Practical Network Compression", ICML 2021. With
/// the dataset's labels it is the empirical Fisher, with labels drawn from the model's own scores the true one.
pub const FISHER: LossChange = LossChange { criterion: "fisher", over: Over::Sample };
