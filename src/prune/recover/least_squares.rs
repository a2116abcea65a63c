//! Weights and biases of each layer become those that come nearest to the original's outputs, in closed form.
//!
//! Layers are taken in the order in which they run, on the activations of the network as already repaired, so that each
//! makes up for the drift of those before it.
//!
//! Source: the reconstruction step of He et al., ICCV 2017 (equation 4). Differs: the targets lie behind the sum of a
//! residual block, weights stay near where they are (a ridge towards them, not towards zero), biases are fitted too, and
//! layers whose inputs were not cut are repaired as well.

use faer::Mat;

use super::frontier::Frontier;
use super::gap::{Gap, GapError, Inputs, draw_positions, rows};
use super::layer::{Bias, Kind, Layer};
use super::ridge::{Correction, Ridge, RidgeError, Rows};
use super::{Recovery, Repaired, change, layer};
use crate::onnx::model::Model;
use crate::onnx::tensor::{Tensor, TensorError};
use crate::prune::error::PruneError;
use crate::prune::observe::ObserveError;
use crate::prune::surgery::SurgeryError;
use crate::spec::report::{Frozen, RepairedLayer};

/// Rows that a layer is fitted to: at least this many, and this many times its inputs, up to a bound. More rows than sixteen
/// times the inputs change the fit less than other samples would; the bound keeps the largest layers within minutes.
const LEAST_ROWS: usize = 4096;
const ROWS_AN_INPUT: usize = 16;
const MOST_ROWS: usize = 32_768;

/// Inputs of one map beyond which its normal equations, the square of their number in 64 bits, are too large.
const MOST_INPUTS: usize = 5_000;

/// One batch in this many is set apart to choose the damping by, where there are two or more.
const APART: usize = 8;

/// Elements of rows that are held at once.
const MOST_ELEMENTS: usize = 4 << 20;

/// Below this share of the original's outputs nothing is lacking but rounding.
const ROUNDING: f64 = 1e-5;

/// Why a layer is as it was.
#[derive(Debug, thiserror::Error)]
enum LayerError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Change(#[from] SurgeryError),
    #[error(transparent)]
    Gap(#[from] GapError),
    #[error(transparent)]
    Ridge(#[from] RidgeError),
    #[error("{0} inputs of an output are more than the {MOST_INPUTS} for which the equations are solved")]
    Wide(usize),
    #[error("no weights came nearer to the original on samples that were set apart")]
    NoBetter,
}

/// Repairs every layer that lacks something.
pub(super) fn repair(recovery: &Recovery<'_>, model: &mut Model) -> Result<Repaired, PruneError> {
    let (layers, skipped) = layer::repairable(&model.graph(), recovery.inferred, recovery.plan);
    let mut repaired = Repaired { skipped, ..Repaired::default() };
    let (mut before, mut now) = (recovery.frontier(), recovery.frontier());
    for layer in layers {
        before.advance(recovery.original, recovery.original_node(model, &layer))?;
        now.advance(model, layer.node)?;
        match repair_layer(recovery, model, &layer, &before, &now) {
            Ok(Some(done)) => repaired.layers.push(done),
            Ok(None) => {}
            Err(LayerError::Observe(error)) => return Err(error.into()),
            Err(LayerError::Change(error)) => return Err(error.into()),
            Err(reason) => repaired.skipped.push(Frozen {
                what: layer.weight.clone(),
                operator: Some(layer.label.clone()),
                reason: reason.to_string(),
            }),
        }
    }
    Ok(repaired)
}

/// Repairs one layer; `None` where it lacks nothing.
fn repair_layer(
    recovery: &Recovery<'_>,
    model: &mut Model,
    layer: &Layer,
    before: &Frontier<'_>,
    now: &Frontier<'_>,
) -> Result<Option<RepairedLayer>, LayerError> {
    let weight = change::constant(model, &layer.weight)?;
    let map = Map::new(layer, &weight);
    if map.inputs > MOST_INPUTS {
        return Err(LayerError::Wide(map.inputs));
    }
    let sums = map.sums(recovery, model, before, now)?;
    let relative = |error: f64| error / sums.expected.max(f64::MIN_POSITIVE);
    let masks = recovery.keep_zeros.then(|| map.masks(&weight)).transpose().map_err(GapError::from)?;
    let mut solved = Vec::with_capacity(map.groups);
    for (group, ridge) in sums.ridges.iter().enumerate() {
        let range = group * map.outputs..(group + 1) * map.outputs;
        solved.push(ridge.solve(masks.as_ref().map(|masks| &masks[range]))?);
    }
    let total = |of: fn(&Correction) -> f64| {
        (solved.iter().map(|solved| of(solved).powi(2)).sum::<f64>() / map.groups as f64).sqrt()
    };
    let (error_before, error_after) = (relative(total(|c| c.before)), relative(total(|c| c.after)));
    if error_before < ROUNDING {
        return Ok(None);
    }
    if error_after >= error_before {
        return Err(LayerError::NoBetter);
    }
    map.write(model, layer, &weight, &solved)?;
    Ok(Some(RepairedLayer { layer: layer.label.clone(), error_before, error_after }))
}

/// The sizes of a layer's map.
#[derive(Debug)]
struct Map<'l> {
    layer: &'l Layer,
    /// Shape of the weight.
    shape: Vec<usize>,
    groups: usize,
    /// Outputs a group.
    outputs: usize,
    /// Weights of an output, and the bias where there is one.
    inputs: usize,
    has_bias: bool,
}

/// What was added up for a layer.
struct Sums {
    /// One a group.
    ridges: Vec<Ridge>,
    /// Root mean square of what the targets should be, in the units of the map.
    expected: f64,
}

impl<'l> Map<'l> {
    fn new(layer: &'l Layer, weight: &Tensor) -> Self {
        let shape = weight.shape.clone();
        let (groups, outputs, weights) = match layer.kind {
            Kind::Conv { groups } => (groups, shape[0] / groups, shape[1..].iter().product()),
            Kind::Dense { transposed: true } => (1, shape[0], shape[1]),
            Kind::Dense { transposed: false } => (1, shape[1], shape[0]),
        };
        let has_bias = layer.bias != Bias::None;
        Self { layer, shape, groups, outputs, inputs: weights + usize::from(has_bias), has_bias }
    }

    /// Where the weight of an input of an output lies; outputs are counted over all groups.
    fn offset(&self, output: usize, input: usize) -> usize {
        match self.layer.kind {
            Kind::Dense { transposed: false } => input * self.shape[1] + output,
            _ => output * (self.inputs - usize::from(self.has_bias)) + input,
        }
    }

    /// For each output the inputs whose weights are not zero, the bias included.
    fn masks(&self, weight: &Tensor) -> Result<Vec<Vec<bool>>, TensorError> {
        let values = weight.to_f32()?;
        let weights = self.inputs - usize::from(self.has_bias);
        let free = |output: usize| {
            let mut mask: Vec<bool> = (0..weights).map(|input| values[self.offset(output, input)] != 0.0).collect();
            mask.resize(self.inputs, true);
            mask
        };
        Ok((0..self.groups * self.outputs).map(free).collect())
    }

    /// Runs both models over the samples and adds up drawn positions.
    fn sums(
        &self,
        recovery: &Recovery<'_>,
        model: &Model,
        before: &Frontier<'_>,
        now: &Frontier<'_>,
    ) -> Result<Sums, LayerError> {
        let layer = self.layer;
        let batches = now.batches();
        let wanted = (ROWS_AN_INPUT * self.inputs).clamp(LEAST_ROWS, MOST_ROWS).div_ceil(batches);
        let mut ridges: Vec<Ridge> = (0..self.groups).map(|_| Ridge::new(self.inputs, self.outputs)).collect();
        let (mut squares, mut count) = (0.0, 0);
        let originals = before.run(recovery.original, &[&layer.target])?;
        let cut = now.run(model, &[&layer.input, &layer.target])?;
        let graph = model.graph();
        for (number, (expected, found)) in originals.zip(cut).enumerate() {
            let (expected, found) = (expected?, found?);
            let gap = Gap::new(layer, &found[1], &expected[0])?;
            let inputs = Inputs::new(&layer.kind, graph.node(layer.node), &self.shape, &found[0], &found[1].shape)?;
            let apart = batches > 1 && number % APART == APART.min(batches) - 1;
            let seed = recovery.seed ^ ((layer.node as u64) << 32) ^ number as u64;
            let most = MOST_ELEMENTS / self.inputs.max(self.outputs);
            let wanted = if apart { wanted.min(most) } else { wanted };
            let positions = draw_positions(gap.positions(), wanted, seed);
            for position in &positions {
                for channel in 0..gap.channels() {
                    squares += layer.gain(channel).map_or(0.0, |gain| (gap.at(*position, channel).1 / gain).powi(2));
                }
            }
            count += positions.len() * gap.channels();
            for positions in positions.chunks(most.max(1)) {
                for (group, ridge) in ridges.iter_mut().enumerate() {
                    let rows: Rows = rows(layer, &gap, &inputs, positions, group, self.has_bias);
                    if apart { ridge.set_apart(rows) } else { ridge.fit(&rows) }
                }
            }
        }
        Ok(Sums { ridges, expected: (squares / count.max(1) as f64).sqrt() })
    }

    /// Adds the corrections to the constants.
    fn write(
        &self,
        model: &mut Model,
        layer: &Layer,
        weight: &Tensor,
        solved: &[Correction],
    ) -> Result<(), SurgeryError> {
        let weights = self.inputs - usize::from(self.has_bias);
        let each = || {
            (0..self.groups * self.outputs)
                .map(|output| (output, &solved[output / self.outputs].delta, output % self.outputs))
        };
        change::change(model, &layer.weight, |values| {
            for (output, delta, column) in each() {
                for input in 0..weights {
                    let value = &mut values[self.offset(output, input)];
                    *value = (f64::from(*value) + delta[(input, column)]) as f32;
                }
            }
        })?;
        let bias = |(output, delta, column): (usize, &Mat<f64>, usize)| {
            delta[(weights, column)] * layer.gain(output).unwrap_or(0.0)
        };
        if self.has_bias {
            let added: Vec<f64> = each().map(bias).collect();
            change::add_to_bias(model, &layer.bias, &layer.weight, weight, &added)?;
        }
        Ok(())
    }
}
