//! The sums over samples of what a reader reads and gives.

use super::reader::Reader;
use crate::onnx::graph::Graph;
use crate::onnx::tensor::Tensor;
use crate::prune::gram::Gram;
use crate::prune::importance::ImportanceError;
use crate::prune::recover::{Kind, LayerInputs, draw_positions};

/// Rows that are added up: at least this many, and this many times the inputs, up to a bound.
const LEAST_ROWS: usize = 4096;
const ROWS_AN_INPUT: usize = 8;
const MOST_ROWS: usize = 32_768;

/// Elements of rows that are held at once.
const MOST_ELEMENTS: usize = 4 << 20;

/// Share of the mean square that a variance has to have: below it the numbers, of 24 bits each, are all the same.
const ROUNDING: f64 = 1e-12;

/// What a reader has read.
#[derive(Debug)]
pub struct Sums {
    /// By group of the convolution: one Gram matrix, or one a channel where it would be too large.
    pub(super) grams: Vec<Vec<Gram>>,
    pub(super) target: Moments,
}

impl Reader<'_> {
    /// Nothing read yet.
    pub fn sums(&self) -> Sums {
        let grams = || {
            if self.is_wide() {
                (0..self.units.len()).map(|_| Gram::new(self.taps())).collect()
            } else {
                vec![Gram::new(self.inputs() + 1)]
            }
        };
        Sums { grams: (0..self.groups).map(|_| grams()).collect(), target: Moments::default() }
    }

    /// Adds drawn positions of a batch, one of `batches`.
    pub fn add(
        &self,
        graph: &Graph<'_>,
        sums: &mut Sums,
        value: &Tensor,
        target: Option<&Tensor>,
        (number, batches): (usize, usize),
    ) -> Result<(), ImportanceError> {
        let untold = |source| ImportanceError::Weight { tensor: self.value.to_owned(), source };
        if let (Some(layer), Some(target)) = (&self.layer, target) {
            sums.target.add(target, layer.channel_axis(target.shape.len())).map_err(untold)?;
        }
        let window = if let (None, Some(target)) = (self.axis, target) {
            let kind = Kind::Conv { groups: self.groups };
            // Another rank or width than the weight's does not run.
            let node = graph.node(self.node);
            let Ok(inputs) = LayerInputs::new(&kind, node, &self.weight.shape, value, &target.shape) else {
                return Ok(());
            };
            Some((inputs, target.len() / target.shape.get(1).copied().unwrap_or(1).max(1)))
        } else {
            None
        };
        let axis = self.axis.unwrap_or(1).min(value.shape.len().saturating_sub(1));
        let size = value.shape.get(axis).copied().unwrap_or(1).max(1);
        let inner: usize = value.shape.iter().skip(axis + 1).product();
        let positions = match &window {
            Some((_, positions)) => *positions,
            None => value.len() / size,
        };
        let numbers = value.to_f32().map_err(untold)?;
        let wanted = (ROWS_AN_INPUT * self.inputs()).clamp(LEAST_ROWS, MOST_ROWS).div_ceil(batches);
        let drawn = draw_positions(positions, wanted, ((self.node as u64) << 32) ^ number as u64);
        let mut rows: Vec<f64> = Vec::new();
        for positions in drawn.chunks((MOST_ELEMENTS / (self.inputs() + 1)).max(1)) {
            for group in 0..self.groups {
                rows.clear();
                for position in positions {
                    if let Some((inputs, _)) = &window {
                        inputs.append(*position, group, &mut rows);
                    } else {
                        let first = position / inner * size * inner + position % inner;
                        rows.extend((0..size).map(|at| f64::from(numbers[first + at * inner])));
                    }
                    rows.extend((!self.is_wide()).then_some(1.0));
                }
                if self.is_wide() {
                    self.add_alone(&mut sums.grams[group], &rows);
                } else {
                    sums.grams[group][0].add(&rows);
                }
            }
        }
        Ok(())
    }

    /// Adds rows, the inputs of each channel by themselves.
    fn add_alone(&self, grams: &mut [Gram], rows: &[f64]) {
        let taps = self.taps();
        for (at, gram) in grams.iter_mut().enumerate() {
            let own = rows.chunks_exact(self.inputs()).flat_map(|row| &row[at * taps..(at + 1) * taps]);
            gram.add(&own.copied().collect::<Vec<_>>());
        }
    }
}

/// Sums and sums of squares by channel.
#[derive(Debug, Default)]
pub(super) struct Moments {
    channels: Vec<(f64, f64)>,
    positions: usize,
}

impl Moments {
    fn add(&mut self, values: &Tensor, axis: usize) -> Result<(), crate::onnx::tensor::TensorError> {
        let channels = values.shape.get(axis).copied().unwrap_or(1).max(1);
        let inner: usize = values.shape.iter().skip(axis + 1).product();
        self.channels.resize(channels, (0.0, 0.0));
        let numbers = values.to_f32()?;
        for (at, run) in numbers.chunks_exact(inner.max(1)).enumerate() {
            let (sum, squares) = &mut self.channels[at % channels];
            for number in run {
                *sum += f64::from(*number);
                *squares += f64::from(*number).powi(2);
            }
        }
        self.positions += numbers.len() / channels;
        Ok(())
    }

    /// The variances of all channels together, nothing where they are no more than rounding; of one position, which has no
    /// variance, the squares. `None` where nothing was added.
    pub(super) fn variance(&self) -> Option<f64> {
        let count = self.positions as f64;
        let variance = |(sum, squares): &(f64, f64)| {
            let (mean, square) = (sum / count, squares / count);
            let variance = if self.positions > 1 { square - mean.powi(2) } else { square };
            if variance > ROUNDING * square { variance } else { 0.0 }
        };
        (self.positions > 0).then(|| self.channels.iter().map(variance).sum())
    }
}
