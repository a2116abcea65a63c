//! What channels do on calibration samples: how large their values are where weights read them, and which never change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::contribution::median;
use super::slices::{Role, Slices};
use crate::data::Samples;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Axis, Coupling, LeafId, Operands, Part};
use crate::prune::observe::{ObserveError, observe};
use crate::spec::analysis::{ActivationReport, GroupActivations};

/// Channels whose root mean square is below this share of their group's are weak.
const WEAK: f64 = 0.1;

/// Channels whose standard deviation is below this share of their group's root mean square are as good as constant: a bias
/// can take their place.
const NEAR_CONSTANT: f64 = 0.01;

/// Sums over the elements at one index.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, run: &[f32]) {
        self.count += run.len() as u64;
        self.sum += run.iter().map(|value| f64::from(*value)).sum::<f64>();
        self.squares += run.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>();
    }

    fn mean_square(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }

    fn variance(&self) -> f64 {
        let mean = self.sum / self.count.max(1) as f64;
        (self.mean_square() - mean * mean).max(0.0)
    }
}

/// A value that weights read: its axes, and its moments along the factors on which they do.
struct Read<'c> {
    axes: &'c [Axis],
    moments: HashMap<LeafId, Vec<Moments>>,
}

/// A model with its coupling and the slices of its weights.
pub struct Activations<'a> {
    pub model: &'a Model,
    pub graph: &'a Graph<'a>,
    pub inferred: &'a Inferred,
    pub coupling: &'a Coupling,
    pub slices: &'a [Slices],
    /// Of the groups.
    pub names: &'a [String],
}

impl Activations<'_> {
    /// Runs the model and describes the channels of each group that weights read.
    ///
    /// Errors: the model does not run on the samples. Cost: one forward pass over them.
    pub fn observe(&self, samples: Samples<'_>, threads: usize) -> Result<ActivationReport, ObserveError> {
        let mut read = self.read();
        let wanted: Vec<&str> = read.keys().copied().collect();
        if !wanted.is_empty() {
            observe(self.model, self.inferred, &wanted, samples, threads, |_, tensors| {
                read.values_mut().zip(tensors).for_each(|(read, tensor)| read.add(self.coupling, tensor));
                Ok::<_, ObserveError>(())
            })?;
        }
        let described = (0..self.coupling.groups.len()).filter_map(|group| self.describe(group, &read));
        let described: Vec<(GroupActivations, f64)> = described.collect();
        let median = median(described.iter().map(|(_, size)| *size).filter(|size| size.is_finite()).collect());
        let relative = |(group, size): (GroupActivations, f64)| GroupActivations {
            contribution: median.map(|median| size / median).filter(|share| share.is_finite()),
            ..group
        };
        Ok(ActivationReport { samples: samples.len() as u64, groups: described.into_iter().map(relative).collect() })
    }

    /// The computed floating-point values that weights read.
    fn read(&self) -> BTreeMap<&str, Read<'_>> {
        let operands = Operands::new(self.coupling);
        let mut found: BTreeMap<&str, Read<'_>> = BTreeMap::new();
        for slices in self.slices.iter().filter(|slices| slices.role == Role::Reads) {
            let node = self.graph.node(slices.node);
            let computed = (0..node.input.len())
                .filter_map(|slot| operands.input(slices.node, node, slot))
                .filter(|layout| layout.constant_use.is_none())
                .filter(|layout| self.inferred.dtype(&layout.name).is_some_and(DataType::is_float));
            for layout in computed {
                let Some(axes) = &layout.axes else { continue };
                let holds = |axis: &Axis| axis.parts.contains(&Part::Leaf(slices.leaf));
                if axes.iter().any(holds) && !self.graph.is_input(&layout.name) {
                    let read = found.entry(&layout.name).or_insert_with(|| Read { axes, moments: HashMap::new() });
                    let size = self.coupling.leaves[slices.leaf as usize].size;
                    read.moments.insert(slices.leaf, vec![Moments::default(); size]);
                }
            }
        }
        found
    }

    /// The channels of a group, and the root mean square of their values; `None` where no weight reads them.
    fn describe(&self, group: usize, read: &BTreeMap<&str, Read<'_>>) -> Option<(GroupActivations, f64)> {
        let mut values: BTreeSet<&str> = BTreeSet::new();
        let units = self.coupling.groups[group].units.clone();
        let channels: Vec<Vec<Moments>> = units
            .map(|unit| {
                let indices = &self.coupling.units[unit].indices;
                let found = read.iter().flat_map(|(name, read)| indices.iter().map(move |at| (*name, read, at)));
                let found = found.filter_map(|(name, read, (leaf, offset))| {
                    let moments = read.moments.get(leaf)?[*offset as usize];
                    (moments.count > 0).then_some((name, moments))
                });
                let found = found.map(|(name, moments)| {
                    values.insert(name);
                    moments
                });
                found.collect()
            })
            .collect();
        let (squares, count) =
            channels.iter().flatten().fold((0.0, 0), |(sum, count), m| (sum + m.squares, count + m.count));
        if count == 0 {
            return None;
        }
        let mean = squares / count as f64;
        let (mut dead, mut near_constant, mut weak_channels) = (Vec::new(), Vec::new(), 0);
        for (place, moments) in channels.iter().enumerate().filter(|(_, moments)| !moments.is_empty()) {
            if moments.iter().all(|of| of.squares == 0.0) {
                dead.push(place as u64);
            } else if moments.iter().all(|of| of.variance() <= NEAR_CONSTANT * NEAR_CONSTANT * mean) {
                near_constant.push(place as u64);
            }
            weak_channels += u64::from(moments.iter().all(|of| of.mean_square() < WEAK * WEAK * mean));
        }
        let described = GroupActivations {
            group: self.names[group].clone(),
            values: values.into_iter().map(str::to_owned).collect(),
            contribution: None,
            weak_channels,
            dead,
            near_constant,
        };
        Some((described, mean.sqrt()))
    }
}

impl Read<'_> {
    /// Adds the elements of a batch. Axes whose parts cannot be told apart at run time are passed over.
    fn add(&mut self, coupling: &Coupling, tensor: &Tensor) {
        let (Some(shape), Ok(values)) = (self.shape(coupling, &tensor.shape), tensor.to_f32()) else { return };
        for (at, (size, leaf)) in shape.iter().enumerate() {
            let Some(moments) = leaf.and_then(|leaf| self.moments.get_mut(&leaf)) else { continue };
            let inner: usize = shape[at + 1..].iter().map(|(size, _)| size).product();
            for outer in values.chunks_exact((inner * size).max(1)) {
                moments.iter_mut().zip(outer.chunks_exact(inner.max(1))).for_each(|(moments, run)| moments.add(run));
            }
        }
    }

    /// The sizes of all factors of a tensor of this shape.
    fn shape(&self, coupling: &Coupling, sizes: &[usize]) -> Option<Vec<(usize, Option<LeafId>)>> {
        let mut shape = Vec::new();
        for (axis, size) in self.axes.iter().zip(sizes) {
            let leaf = |part: &Part| match part {
                Part::Leaf(leaf) => Some(*leaf),
                Part::Fixed(_) => None,
            };
            let known: usize =
                axis.parts.iter().filter_map(leaf).map(|leaf| coupling.leaves[leaf as usize].size).product();
            if axis.parts.iter().filter(|part| leaf(part).is_none()).count() > 1 {
                // Where nothing is cut along the axis, its parts need not be told apart.
                if axis.parts.iter().any(|part| leaf(part).is_some()) {
                    return None;
                }
                shape.push((*size, None));
                continue;
            }
            for part in &axis.parts {
                let of_leaf = |leaf: LeafId| (coupling.leaves[leaf as usize].size, Some(leaf));
                shape.push(leaf(part).map_or((size / known.max(1), None), of_leaf));
            }
        }
        (shape.iter().map(|(size, _)| size).product::<usize>() == sizes.iter().product::<usize>()).then_some(shape)
    }
}
