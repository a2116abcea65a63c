//! Root mean square of the weights.

use super::Magnitude;

/// `√(Σ w² ÷ n)` over the weights of a unit.
///
/// Units: of the weights; ≥ 0, higher = keep. Comparable across groups only after normalisation.
/// Source: He et al., "Soft Filter Pruning", IJCAI 2018 (p = 2), over all coupled weights as in Fang et al., "DepGraph",
/// CVPR 2023. Differs: their mean, so that units with more weights do not win by number.
#[derive(Clone, Copy, Debug)]
pub struct L2;

impl Magnitude for L2 {
    fn of(&self, weight: f32) -> f64 {
        f64::from(weight) * f64::from(weight)
    }

    fn finish(&self, sum: f64, count: u64) -> f64 {
        (sum / count as f64).sqrt()
    }
}
