//! The layers that read channels: linear maps with constant weights, and the sums over samples of what they read.

use super::eliminate::{Inputs, Map};
use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Axis, Coupling, NO_UNIT, Part};
use crate::prune::gram::{Gram, Singular};
use crate::prune::importance::ImportanceError;
use crate::prune::importance::contraction::{is_contracted, operand};
use crate::prune::importance::observed::takes_known;
use crate::prune::recover::{Kind, Layer, LayerInputs, draw_positions};
use faer::Mat;
use faer::prelude::Solve as _;

/// Inputs of one map beyond which their Gram matrix, the square of their number in 64 bits, is too large; channels are then
/// looked at one by one, as if nothing made up for them.
const MOST_INPUTS: usize = 5_000;

/// Rows that are added up: at least this many, and this many times the inputs, up to a bound.
const LEAST_ROWS: usize = 4096;
const ROWS_AN_INPUT: usize = 8;
const MOST_ROWS: usize = 32_768;

/// Elements of rows that are held at once.
const MOST_ELEMENTS: usize = 4 << 20;

/// Share of the mean of a Gram matrix's diagonal that is added to it; the same as in the least repair.
const DAMPING: f64 = 1e-3;

/// Share of the mean square that a variance has to have: below it the numbers, of 24 bits each, are all the same.
const ROUNDING: f64 = 1e-12;

/// A layer that reads channels that can go.
#[derive(Debug)]
pub struct Reader<'g> {
    node: NodeIndex,
    /// Of its weight.
    name: &'g str,
    /// The value that it reads.
    pub value: &'g str,
    /// What its error is held against, where it is measured: what it gives, behind what is linear.
    pub target: Option<String>,
    /// The axis of the value that is summed over; `None` for convolutions, which sum over a window.
    axis: Option<usize>,
    /// Groups of a convolution, each with a map of its own.
    groups: usize,
    /// Groups of a transposed convolution: one map, in which an input reaches the outputs of its group alone.
    transposed_groups: usize,
    weight: Tensor,
    weight_axis: usize,
    /// As the repair will see it, where it has one.
    layer: Option<Layer>,
    /// By index of the axis of the weight that is summed over: the units that it belongs to.
    units: Vec<Vec<u32>>,
}

/// What a reader has read.
#[derive(Debug)]
pub struct Sums {
    /// By group of the convolution: one Gram matrix, or one a channel where it would be too large.
    grams: Vec<Vec<Gram>>,
    target: Moments,
}

/// All readers of channels that can go, and the weights of those that would be readers if what they take and give could be
/// observed.
///
/// Errors: a weight that cannot be read.
pub fn readers<'g>(
    graph: &'g Graph<'_>,
    inferred: &Inferred,
    coupling: &'g Coupling,
) -> Result<(Vec<Reader<'g>>, Vec<&'g str>), ImportanceError> {
    let (layers, _) = crate::prune::recover::layers(graph, inferred, None);
    let rank = |name: &str| inferred.rank(name);
    let is_known = |name: &str| inferred.dtype(name).is_some();
    let (mut readers, mut hidden) = (Vec::new(), Vec::new());
    for tensor in &coupling.tensors {
        let (Some((node, slot)), Some(axes)) = (tensor.constant_use, &tensor.axes) else { continue };
        if !is_contracted(graph, node, slot) {
            continue;
        }
        if !takes_known(graph, node, slot, inferred) {
            // Without the operand it is not known which axis is summed over.
            let has_units = |axis: &Axis| units_of(coupling, axis).iter().any(|units| !units.is_empty());
            hidden.extend(axes.iter().any(has_units).then_some(tensor.name.as_str()));
            continue;
        }
        let Some(operand) = operand(graph, node, slot, axes.len(), &rank) else { continue };
        let units = units_of(coupling, &axes[operand.weight_axis]);
        if units.iter().all(Vec::is_empty) || !inferred.dtype(operand.value).is_some_and(DataType::is_float) {
            continue;
        }
        let untold = |source| ImportanceError::Weight { tensor: tensor.name.clone(), source };
        let Some(weight) = graph.constant(&tensor.name).transpose().map_err(untold)? else { continue };
        let is_window = graph.node(node).is("Conv");
        // A product of more than one matrix has as many maps, of which none reads all that is summed over.
        if !weight.dtype.is_float() || (weight.shape.len() > 2 && graph.node(node).is("MatMul")) {
            continue;
        }
        let layer = layers.iter().find(|layer| layer.node == node && is_known(&layer.target)).cloned();
        // The positions of a window are those of what it gives.
        let output = graph.node(node).output.first().filter(|_| is_window);
        let target = layer.as_ref().map(|layer| &layer.target).or(output).cloned();
        if target.as_deref().is_some_and(|target| !is_known(target)) {
            hidden.push(tensor.name.as_str());
            continue;
        }
        readers.push(Reader {
            node,
            name: &tensor.name,
            value: operand.value,
            target,
            axis: (!is_window).then_some(operand.axis),
            groups: if is_window { operand.groups } else { 1 },
            transposed_groups: if is_window { 1 } else { operand.groups },
            weight,
            weight_axis: operand.weight_axis,
            layer,
            units,
        });
    }
    Ok((readers, hidden))
}

/// By index of an axis: the units that hold it.
fn units_of(coupling: &Coupling, axis: &Axis) -> Vec<Vec<u32>> {
    axis.parts.iter().fold(vec![Vec::new()], |outer, part| {
        let inner: Vec<u32> = match part {
            Part::Leaf(leaf) => {
                let leaf = coupling.leaves[*leaf as usize];
                coupling.unit_of[leaf.first..leaf.first + leaf.size].to_vec()
            }
            // Weights have no open sizes.
            Part::Fixed(size) => {
                vec![NO_UNIT; size.as_known().and_then(|size| usize::try_from(size).ok()).unwrap_or(1)]
            }
        };
        let join = |units: &Vec<u32>, unit: u32| {
            let mut units = units.clone();
            units.extend((unit != NO_UNIT).then_some(unit));
            units
        };
        outer.iter().flat_map(|units| inner.iter().map(move |unit| join(units, *unit))).collect()
    })
}

impl Reader<'_> {
    /// The units that it reads, each as often as it has an index.
    pub fn units(&self) -> impl Iterator<Item = usize> + '_ {
        self.units.iter().flatten().map(|unit| *unit as usize)
    }

    /// Inputs of an output.
    fn inputs(&self) -> usize {
        self.units.len() * self.taps()
    }

    /// Inputs that one index of the axis has.
    fn taps(&self) -> usize {
        if self.axis.is_some() { 1 } else { self.weight.shape[2..].iter().product() }
    }

    /// Whether its inputs are looked at one channel at a time.
    pub fn is_wide(&self) -> bool {
        self.inputs() > MOST_INPUTS
    }

    /// Bytes of what an elimination needs of it.
    pub fn bytes(&self) -> usize {
        let inputs = self.inputs() + 1;
        // A Gram matrix with its inverse, and the weights.
        let sums = if self.is_wide() { self.units.len() * self.taps().pow(2) } else { 2 * inputs.pow(2) };
        let weights = inputs * self.weight.len() / self.inputs().max(1) * self.transposed_groups;
        (self.groups * sums + weights) * size_of::<f64>()
    }

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

/// Sums and sums of squares by channel.
#[derive(Debug, Default)]
struct Moments {
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
    fn variance(&self) -> Option<f64> {
        let count = self.positions as f64;
        let variance = |(sum, squares): &(f64, f64)| {
            let (mean, square) = (sum / count, squares / count);
            let variance = if self.positions > 1 { square - mean.powi(2) } else { square };
            if variance > ROUNDING * square { variance } else { 0.0 }
        };
        (self.positions > 0).then(|| self.channels.iter().map(variance).sum())
    }
}
