//! What an elimination needs to know of a reader: weights, sums and errors.

use faer::Mat;
use faer::prelude::Solve as _;

use super::eliminate::{Inputs, Map};
use super::reader::Reader;
use super::sums::Sums;
use crate::prune::gram::{Gram, Singular};
use crate::prune::importance::ImportanceError;

/// Share of the mean of a Gram matrix's diagonal that is added to it; the same as in the least repair.
const DAMPING: f64 = 1e-3;

impl Reader<'_> {
    /// What an elimination of the units from `first` on needs to know; one map a group of the convolution.
    ///
    /// Errors: a weight that cannot be read; what was read is not finite.
    pub fn maps(&self, sums: &Sums, first: usize, count: usize) -> Result<Vec<Map>, ImportanceError> {
        let mut blocks: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, units) in self.units.iter().enumerate() {
            for unit in units.iter().filter_map(|unit| (*unit as usize).checked_sub(first)).filter(|unit| *unit < count)
            {
                blocks[unit].extend(at * self.taps()..(at + 1) * self.taps());
            }
        }
        let singular = |_: Singular| ImportanceError::NotANumber { tensor: self.value.to_owned() };
        (sums.grams.iter().enumerate())
            .map(|(group, grams)| {
                let weights = self.weights(group)?;
                let rows = grams.first().map_or(0, Gram::rows).max(1) as f64;
                let energy = match sums.target.variance() {
                    Some(energy) => energy / self.groups as f64,
                    None => self.own_energy(grams, &weights) / rows,
                } * rows;
                let nothing = || Map { inputs: Inputs::Alone(vec![0.0; count]), blocks: blocks.clone(), energy: 1.0 };
                // What is always the same is won back by the bias.
                if energy <= 0.0 {
                    return Ok(nothing());
                }
                let inputs = match grams.as_slice() {
                    [gram] if !self.is_wide() => {
                        let Ok(damping) = gram.damping(DAMPING) else {
                            // Inputs that are always zero tell nothing, and cost nothing.
                            let is_zero = (0..gram.size()).all(|at| gram.at(at, at) == 0.0);
                            return if is_zero { Ok(nothing()) } else { Err(singular(Singular)) };
                        };
                        let all: Vec<usize> = (0..gram.size()).collect();
                        let factor = gram.factor(&all, damping).map_err(singular)?;
                        Inputs::Repaired { inverse: factor.solve(Mat::<f64>::identity(all.len(), all.len())), weights }
                    }
                    _ => Inputs::Alone(blocks.iter().map(|block| alone(grams, &weights, block)).collect()),
                };
                Ok(Map { blocks: blocks.clone(), energy, inputs })
            })
            .collect()
    }

    /// The squared outputs of a map over all rows, without those of their mean where the mean is known; of one that is too
    /// wide, what each channel's inputs make by themselves.
    fn own_energy(&self, grams: &[Gram], weights: &Mat<f64>) -> f64 {
        if self.is_wide() {
            let taps = self.taps();
            let block = |at: usize| (at * taps..(at + 1) * taps).collect::<Vec<_>>();
            return (0..self.units.len()).map(|at| alone(grams, weights, &block(at))).sum();
        }
        let Some(gram) = grams.first() else { return 0.0 };
        let product = gram.times(weights.as_ref());
        let last = gram.size() - 1;
        (0..weights.ncols())
            .map(|output| {
                let squares: f64 = (0..last).map(|input| weights[(input, output)] * product[(input, output)]).sum();
                squares - product[(last, output)].powi(2) / gram.rows().max(1) as f64
            })
            .sum()
    }

    /// `[inputs, outputs]` of a group, behind what its outputs are scaled by; the last input is the bias, whose weights do
    /// not matter here.
    fn weights(&self, group: usize) -> Result<Mat<f64>, ImportanceError> {
        let untold = |source| ImportanceError::Weight { tensor: self.name.to_owned(), source };
        let values = self.weight.to_f32().map_err(untold)?;
        let inputs = self.inputs();
        let gain = |channel| self.layer.as_ref().map_or(1.0, |layer| layer.gain(channel).unwrap_or(0.0));
        if self.axis.is_none() {
            let outputs = self.weight.shape[0] / self.groups;
            return Ok(Mat::from_fn(inputs + 1, outputs, |input, output| {
                let channel = group * outputs + output;
                if input == inputs { 0.0 } else { f64::from(values[channel * inputs + input]) * gain(channel) }
            }));
        }
        let inner: usize = self.weight.shape[self.weight_axis + 1..].iter().product();
        let outputs = values.len() / inputs.max(1);
        if self.transposed_groups > 1 {
            let of_group = inputs / self.transposed_groups;
            return Ok(Mat::from_fn(inputs + 1, outputs * self.transposed_groups, |input, output| {
                let is_reached = input < inputs && input / of_group.max(1) == output / outputs.max(1);
                if is_reached { f64::from(values[input * outputs + output % outputs]) } else { 0.0 }
            }));
        }
        Ok(Mat::from_fn(inputs + 1, outputs, |input, output| {
            let at = (output / inner * inputs + input) * inner + output % inner;
            if input == inputs { 0.0 } else { f64::from(values[at]) * gain(output) }
        }))
    }
}

/// The squared outputs that a channel's inputs make by themselves.
fn alone(grams: &[Gram], weights: &Mat<f64>, block: &[usize]) -> f64 {
    let taps = grams.first().map_or(1, Gram::size);
    let of = |inputs: &[usize]| {
        let Some(gram) = inputs.first().and_then(|input| grams.get(input / taps)) else { return 0.0 };
        let own = Mat::from_fn(taps, weights.ncols(), |tap, output| weights[(inputs[0] + tap, output)]);
        let product = gram.times(own.as_ref());
        (0..own.ncols())
            .map(|output| (0..taps).map(|tap| own[(tap, output)] * product[(tap, output)]).sum::<f64>())
            .sum()
    };
    block.chunks(taps).map(of).sum()
}
