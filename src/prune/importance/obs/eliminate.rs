//! Backward elimination of channels by the error that remains after the best repair of the layers that read them.
//!
//! Knows nothing of graphs: a layer is the inverse of the damped Gram matrix of its inputs, its weights, and the rows of
//! both that each channel has.
//!
//! Source: Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NeurIPS 1992, in blocks
//! as in Frantar and Alistarh, "Optimal Brain Compression", NeurIPS 2022. Differs: a block is all inputs that a channel gives
//! to a layer, whatever the output, so that the inverse is one for all outputs; errors of several layers are added.

use faer::linalg::matmul::matmul;
use faer::prelude::Solve as _;
use faer::{Accum, Mat, Par};

use crate::prune::gram::cholesky;

/// Multiplications that the elimination of a group may take, more or less. Where single steps would take more, several
/// channels go at a step; they are then chosen without regard to each other.
const MOST_MULTIPLICATIONS: f64 = 3e10;

/// Steps that an elimination has at least, where there are as many channels.
const LEAST_STEPS: usize = 32;

/// A layer, or one group of a grouped convolution, as far as it reads the channels of a group.
#[derive(Debug)]
pub struct Map {
    /// By channel: its inputs, ascending.
    pub blocks: Vec<Vec<usize>>,
    /// What errors are divided by.
    pub energy: f64,
    pub inputs: Inputs,
}

/// What is known of a layer's inputs.
#[derive(Debug)]
pub enum Inputs {
    /// `[inputs, inputs]` and `[inputs, outputs]`: the other inputs make up for those that go.
    Repaired { inverse: Mat<f64>, weights: Mat<f64> },
    /// By channel: the error without it where nothing makes up for it.
    Alone(Vec<f64>),
}

impl Map {
    /// The relative error that remains when a channel goes next.
    fn loss(&self, channel: usize) -> f64 {
        let rows = &self.blocks[channel];
        let loss = match &self.inputs {
            Inputs::Alone(losses) => losses[channel],
            Inputs::Repaired { inverse, weights } => match rows.as_slice() {
                [] => 0.0,
                [row] => {
                    let squares: f64 = (0..weights.ncols()).map(|output| weights[(*row, output)].powi(2)).sum();
                    squares / inverse[(*row, *row)].max(f64::MIN_POSITIVE)
                }
                rows => {
                    let block = Mat::from_fn(rows.len(), rows.len(), |i, j| inverse[(rows[i], rows[j])]);
                    let mut sides = Mat::from_fn(rows.len(), weights.ncols(), |i, output| weights[(rows[i], output)]);
                    // What cannot be solved lies in the span of the others to the last digit, and costs nothing.
                    cholesky(block.as_ref()).map_or(0.0, |factor| {
                        factor.L().solve_lower_triangular_in_place(&mut sides);
                        sides.squared_norm_l2()
                    })
                }
            },
        };
        loss / self.energy
    }

    /// Takes channels out and lets the others make up for them.
    fn remove(&mut self, channels: &[usize]) {
        let Inputs::Repaired { inverse, weights } = &mut self.inputs else { return };
        let mut rows: Vec<usize> = channels.iter().flat_map(|channel| &self.blocks[*channel]).copied().collect();
        rows.sort_unstable();
        rows.dedup();
        let size = inverse.nrows();
        let block = Mat::from_fn(rows.len(), rows.len(), |i, j| inverse[(rows[i], rows[j])]);
        let Ok(factor) = cholesky(block.as_ref()) else { return };
        let columns = Mat::from_fn(size, rows.len(), |i, j| inverse[(i, rows[j])]);
        let lost = Mat::from_fn(rows.len(), weights.ncols(), |i, output| weights[(rows[i], output)]);
        matmul(weights, Accum::Add, &columns, factor.solve(&lost), -1.0, Par::Seq);
        let solved = factor.solve(columns.transpose());
        matmul(inverse, Accum::Add, &columns, solved, -1.0, Par::Seq);
    }

    /// Multiplications of a step, more or less.
    fn step(&self) -> f64 {
        match &self.inputs {
            Inputs::Alone(_) => 0.0,
            Inputs::Repaired { inverse, weights } => {
                let block = self.blocks.iter().map(Vec::len).max().unwrap_or(0);
                (inverse.nrows() * block) as f64 * (inverse.nrows() + weights.ncols()) as f64
            }
        }
    }
}

/// The loss of each channel when it goes, in the order that loses least at each step; never less than that of the channels
/// that went before it, so that an order by losses is the order of removal.
pub fn losses(maps: &mut [Map], channels: usize) -> Vec<f64> {
    let step: f64 = maps.iter().map(Map::step).sum();
    let steps = (MOST_MULTIPLICATIONS / step.max(1.0)).min(channels as f64) as usize;
    let at_once = channels.div_ceil(steps.clamp(LEAST_STEPS.min(channels).max(1), channels.max(1)));
    let mut losses = vec![0.0; channels];
    let mut left: Vec<usize> = (0..channels).collect();
    let mut most: f64 = 0.0;
    while !left.is_empty() {
        let mut found: Vec<(f64, usize)> =
            left.iter().map(|channel| (maps.iter().map(|map| map.loss(*channel)).sum(), *channel)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(at_once);
        for (loss, channel) in &found {
            most = most.max(*loss);
            losses[*channel] = most;
        }
        let gone: Vec<usize> = found.into_iter().map(|(_, channel)| channel).collect();
        left.retain(|channel| !gone.contains(channel));
        if !left.is_empty() {
            for map in &mut *maps {
                map.remove(&gone);
            }
        }
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::gram::Gram;

    /// Four channels of two inputs each; the last is the sum of the first two. Outputs are sums of all inputs.
    fn map(number: impl Fn(usize, usize) -> f64) -> (Map, Mat<f64>) {
        let rows = Mat::from_fn(400, 8, |row, input| match input {
            6 | 7 => number(row, input - 6) + number(row, input - 4),
            _ => number(row, input),
        });
        let mut gram = Gram::new(8);
        (0..400).for_each(|row| gram.add(&(0..8).map(|input| rows[(row, input)]).collect::<Vec<_>>()));
        let all: Vec<usize> = (0..8).collect();
        let factor = gram.factor(&all, 1e-6).unwrap();
        let weights = Mat::from_fn(8, 3, |input, output| 1.0 + (input * 3 + output) as f64 / 10.0);
        let inverse = factor.solve(Mat::<f64>::identity(8, 8));
        let blocks = (0..4).map(|channel| vec![2 * channel, 2 * channel + 1]).collect();
        (Map { blocks, energy: 1.0, inputs: Inputs::Repaired { inverse, weights } }, rows)
    }

    fn number(row: usize, input: usize) -> f64 {
        (((row * 8 + input) as f64 * 12.9898).sin() * 43_758.545_3).fract() * (1.0 + input as f64)
    }

    #[test]
    fn a_channel_that_others_make_up_for_goes_first_and_costs_nothing() {
        let (map, _) = map(number);
        let found = losses(&mut [map], 4);
        let least = found.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(least < 1e-4 && found[2] > least, "{found:?}");
        assert!(found.iter().filter(|loss| **loss > 1.0).count() == 3, "{found:?}");
    }

    #[test]
    fn the_loss_is_the_error_of_the_best_fit_without_the_channel() {
        let (map, rows) = map(number);
        let Inputs::Repaired { weights, .. } = &map.inputs else { panic!("it is repaired") };
        let outputs = &rows * weights;
        for channel in 0..4 {
            let kept: Vec<usize> = (0..8).filter(|input| input / 2 != channel).collect();
            let a = Mat::from_fn(400, kept.len(), |row, at| rows[(row, kept[at])]);
            let damped = a.transpose() * &a + faer::Scale(1e-6) * Mat::<f64>::identity(kept.len(), kept.len());
            let fitted = cholesky(damped.as_ref()).unwrap().solve(a.transpose() * &outputs);
            let expected = (&outputs - &a * fitted).squared_norm_l2();
            let found = map.loss(channel);
            assert!((found - expected).abs() <= 1e-3 * expected + 1e-3, "{channel}: {found} {expected}");
        }
    }

    #[test]
    fn errors_of_several_layers_are_added() {
        let alone = |losses: [f64; 3], energy| Map {
            blocks: vec![Vec::new(); 3],
            energy,
            inputs: Inputs::Alone(losses.to_vec()),
        };
        let found = losses(&mut [alone([3.0, 1.0, 2.0], 1.0), alone([0.0, 8.0, 2.0], 4.0)], 3);
        assert_eq!(found, [3.0, 3.0, 2.5]);
    }
}
