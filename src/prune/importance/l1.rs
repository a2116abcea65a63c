//! Mean absolute weight.

use super::Magnitude;

/// `Σ |w| ÷ n` over the weights of a unit.
///
/// Units: of the weights; ≥ 0, higher = keep. Comparable across groups only after normalisation.
/// Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017. Differs: all coupled weights, and their mean,
/// so that units with more weights do not win by number.
#[derive(Clone, Copy, Debug)]
pub struct L1;

impl Magnitude for L1 {
    fn of(&self, weight: f32) -> f64 {
        f64::from(weight.abs())
    }

    fn finish(&self, sum: f64, count: u64) -> f64 {
        sum / count as f64
    }
}
