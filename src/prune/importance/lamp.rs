//! Layer-adaptive magnitudes: squared weights, each over the sum of those that would outlive it.

use super::Magnitude;

/// `Σ w² ÷ n` over the weights of a unit, divided by the sum of that figure over the units of the group that are not smaller.
///
/// Units: a share in `(0, 1]`, higher = keep; the best unit of each group has 1, so that no group loses all. Comparable
/// across groups as it is.
/// Source: Lee et al., "Layer-Adaptive Sparsity for the Magnitude-Based Pruning", ICLR 2021, equation 4. Differs: for
/// structured cuts a unit stands where they have a weight, as in Fang et al., "DepGraph", CVPR 2023.
#[derive(Clone, Copy, Debug)]
pub struct Lamp;

impl Magnitude for Lamp {
    fn of(&self, weight: f32) -> f64 {
        f64::from(weight) * f64::from(weight)
    }

    fn finish(&self, sum: f64, count: u64) -> f64 {
        sum / count as f64
    }

    fn compare(&self, scores: &mut [f64]) {
        let figures = scores.to_vec();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| figures[*b].total_cmp(&figures[*a]).then(a.cmp(b)));
        let mut outliving = 0.0;
        // Equal figures have one sum, that of all of them, so that the order in which they stand does not matter.
        for equal in order.chunk_by(|a, b| figures[*a] == figures[*b]) {
            let figure = figures[equal[0]];
            outliving += figure * equal.len() as f64;
            for at in equal {
                scores[*at] = if outliving > 0.0 { figure / outliving } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_divided_by_the_sum_of_those_not_smaller() {
        let mut scores = [1.0, 9.0, 4.0, 4.0, 0.0];
        Lamp.compare(&mut scores);
        assert_eq!(scores, [1.0 / 18.0, 1.0, 4.0 / 17.0, 4.0 / 17.0, 0.0]);
        let mut dead = [0.0, 0.0];
        Lamp.compare(&mut dead);
        assert_eq!(dead, [0.0, 0.0]);
    }
}
