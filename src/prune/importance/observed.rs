//! What units do on samples: the values that the next layers read are observed, batch by batch, and added up.

use std::collections::BTreeMap;

use super::contraction::{Operand, is_contracted, operand};
use super::tally::{Tallies, sums};
use super::weights::{Slices, Weight};
use super::{ImportanceError, Magnitude};
use crate::data::Samples;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Axis, Coupling, LeafId, Part};
use crate::prune::observe::observe;
use crate::spec::prune::Reduction;

/// Values that are observed in one run of the model. Together they are held for one batch; each further run computes again
/// what leads to its values.
const AT_ONCE: usize = 8;

/// A model with samples to run it on.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub model: &'a Model,
    pub inferred: &'a Inferred,
    pub samples: Samples<'a>,
    pub threads: usize,
}

impl Evidence<'_> {
    /// Runs the model and hands out the values of the names, each with its position among them.
    fn each(
        &self,
        names: &[&str],
        mut take: impl FnMut(usize, &Tensor) -> Result<(), ImportanceError>,
    ) -> Result<(), ImportanceError> {
        for (part, names) in names.chunks(AT_ONCE).enumerate() {
            observe(self.model, self.inferred, names, self.samples, self.threads, |_, values| {
                values.iter().enumerate().try_for_each(|(at, value)| take(part * AT_ONCE + at, value))
            })?;
        }
        Ok(())
    }

    /// The mean square of each index along the axes of operands, by value and axis.
    ///
    /// Errors: the model does not run, or a value cannot be read.
    pub fn mean_squares<'o>(
        &self,
        operands: impl Iterator<Item = Operand<'o>>,
    ) -> Result<BTreeMap<(&'o str, usize), Vec<f64>>, ImportanceError> {
        let mut places: Vec<(&str, usize)> = operands.map(|operand| (operand.value, operand.axis)).collect();
        places.sort_unstable();
        places.dedup();
        let names: Vec<&str> = places.iter().map(|(name, _)| *name).collect();
        let mut squares: Vec<(Vec<f64>, u64)> = vec![(Vec::new(), 0); places.len()];
        self.each(&names, |at, value| {
            let (name, axis) = places[at];
            let untold = |source| ImportanceError::Weight { tensor: name.to_owned(), source };
            let values = value.to_f32().map_err(untold)?;
            let size = value.shape.get(axis).copied().unwrap_or(1);
            let inner = value.shape.iter().skip(axis + 1).product();
            let slices = Slices { leaf: 0, produced: true, size, inner };
            let sums = sums(&values, &slices, &super::lamp::Lamp);
            let (total, count) = &mut squares[at];
            total.resize(size, 0.0);
            total.iter_mut().zip(&sums).for_each(|(total, sum)| *total += sum);
            *count += (values.len() / size.max(1)) as u64;
            Ok(())
        })?;
        let mean = |(total, count): (Vec<f64>, u64)| total.iter().map(|sum| sum / count.max(1) as f64).collect();
        Ok(places.into_iter().zip(squares.into_iter().map(mean)).collect())
    }
}

/// The units' scores by the magnitudes of the values that contractions take; `None` for units that none takes.
///
/// Errors: the model does not run, or a value is not a number.
pub fn by_activation(
    graph: &Graph<'_>,
    coupling: &Coupling,
    evidence: &Evidence<'_>,
    magnitude: &dyn Magnitude,
    reduction: Reduction,
) -> Result<Vec<Option<f64>>, ImportanceError> {
    let read = |name: &str| {
        graph.uses(name).iter().any(|used| {
            let weighs = |slot: usize| (0..2).any(|other| other != slot && is_contracted(graph, used.node, other));
            used.slot.is_some_and(|slot| slot < 2 && weighs(slot))
        })
    };
    let has_units = |axes: &[Axis]| axes.iter().flat_map(|axis| &axis.parts).any(|part| leaf(coupling, part).is_some());
    let layouts: Vec<(&str, &[Axis])> = (coupling.tensors.iter())
        .filter(|tensor| tensor.constant_use.is_none() && read(&tensor.name))
        .filter_map(|tensor| Some((tensor.name.as_str(), tensor.axes.as_deref()?)))
        .filter(|(name, axes)| has_units(axes) && evidence.inferred.dtype(name).is_some_and(DataType::is_float))
        .collect();
    let names: Vec<&str> = layouts.iter().map(|(name, _)| *name).collect();
    // By value and factor, so that batches add up to one figure.
    let mut found: BTreeMap<(usize, usize), (LeafId, Vec<f64>, u64)> = BTreeMap::new();
    evidence.each(&names, |at, value| {
        let (name, axes) = layouts[at];
        let untold = |source| ImportanceError::Weight { tensor: name.to_owned(), source };
        let values = value.to_f32().map_err(untold)?;
        for (factor, slices) in slices(coupling, axes, &value.shape).into_iter().enumerate() {
            let sums = sums(&values, &slices, magnitude);
            if sums.iter().any(|sum| sum.is_nan()) {
                return Err(ImportanceError::NotANumber { tensor: name.to_owned() });
            }
            let (_, total, count) =
                found.entry((at, factor)).or_insert_with(|| (slices.leaf, vec![0.0; slices.size], 0));
            total.iter_mut().zip(&sums).for_each(|(total, sum)| *total += sum);
            *count += (values.len() / slices.size.max(1)) as u64;
        }
        Ok(())
    })?;
    let mut tallies = Tallies::new(coupling);
    for (leaf, sums, each) in found.into_values() {
        tallies.put(leaf, sums, each, true);
    }
    Ok(coupling.units.iter().map(|unit| tallies.score(unit, reduction, magnitude)).collect())
}

/// The units' scores by the magnitudes of weights, each times the root mean square of what it is multiplied with; `None`
/// for units without such a weight.
///
/// Errors: the model does not run, or a weight or value is not a number.
pub fn by_weight_and_activation(
    graph: &Graph<'_>,
    coupling: &Coupling,
    evidence: &Evidence<'_>,
    magnitude: &dyn Magnitude,
    reduction: Reduction,
) -> Result<Vec<Option<f64>>, ImportanceError> {
    let weights = Weight::all(graph, coupling);
    let rank = |name: &str| evidence.inferred.rank(name);
    let is_seen = |weight: &&Weight<'_>| takes_known(graph, weight.node, weight.slot, evidence.inferred);
    let operands: Vec<_> = (weights.iter().filter(|weight| weight.contracted).filter(is_seen))
        .filter_map(|weight| {
            let operand = operand(graph, weight.node, weight.slot, evidence.inferred.rank(weight.name)?, &rank)?;
            Some((weight, operand))
        })
        .collect();
    let squares = evidence.mean_squares(operands.iter().map(|(_, operand)| *operand))?;
    let mut tallies = Tallies::new(coupling);
    for (weight, operand) in operands {
        let Some(squares) = squares.get(&(operand.value, operand.axis)) else { continue };
        let norms: Vec<f32> = squares.iter().map(|square| square.sqrt() as f32).collect();
        let Some(dims) = evidence.inferred.fixed_shape(weight.name) else { continue };
        let dims: Vec<usize> = dims.iter().map(|size| *size as usize).collect();
        weight.read(graph, |values| {
            tallies.add(weight, &scaled(values, &dims, operand.weight_axis, operand.groups, &norms), magnitude)
        })?;
    }
    Ok(coupling.units.iter().map(|unit| tallies.score(unit, reduction, magnitude)).collect())
}

/// Whether what a weight at an input of a node is multiplied with can be observed. What is computed inside of a graph of a
/// node cannot, for engines give out values of the main graph alone.
pub fn takes_known(graph: &Graph<'_>, node: NodeIndex, slot: usize, inferred: &Inferred) -> bool {
    let operand = graph.node(node).input_name(usize::from(slot == 0));
    operand.is_none_or(|name| graph.constant(name).is_some() || inferred.dtype(name).is_some())
}

/// The weights of contractions that take what cannot be observed.
pub fn unobserved<'g>(graph: &'g Graph<'_>, coupling: &'g Coupling, evidence: &Evidence<'_>) -> Vec<&'g str> {
    let weights = Weight::all(graph, coupling).into_iter().filter(|weight| weight.contracted);
    weights
        .filter(|weight| !takes_known(graph, weight.node, weight.slot, evidence.inferred))
        .map(|weight| weight.name)
        .collect()
}

/// A note of weights that take or give what cannot be observed, where there are such.
pub fn hidden(mut weights: Vec<&str>) -> Vec<String> {
    weights.sort_unstable();
    weights.dedup();
    if weights.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = weights.iter().map(|name| format!("`{name}`")).collect();
    vec![format!(
        "not observed, for they are inside of a graph of a node: the layers with the weights {}; their channels \
         are scored by the other layers that have them, or by the norm of their weights where there is none",
        names.join(", ")
    )]
}

/// Weights times the norms of the channels that they are multiplied with. Of a grouped convolution `[c_out, c_in ÷ g, …]`
/// the output's group says which channels those are.
pub fn scaled(values: &[f32], dims: &[usize], axis: usize, groups: usize, norms: &[f32]) -> Vec<f32> {
    let size = dims[axis];
    let inner: usize = dims[axis + 1..].iter().product();
    let per_group = (dims[0] / groups).max(1);
    let rest: usize = dims[1..].iter().product();
    let norm = |at: usize| {
        let group = if groups > 1 { at / rest.max(1) / per_group } else { 0 };
        norms.get(group * size + at / inner.max(1) % size.max(1)).copied().unwrap_or(0.0)
    };
    values.iter().enumerate().map(|(at, value)| value * norm(at)).collect()
}

fn leaf(coupling: &Coupling, part: &Part) -> Option<LeafId> {
    match part {
        Part::Leaf(leaf) if coupling.is_cuttable(*leaf) => Some(*leaf),
        _ => None,
    }
}

/// The factors of a value that can be cut, at the shape that it has in a run; an axis has at most one open factor.
fn slices(coupling: &Coupling, axes: &[Axis], shape: &[usize]) -> Vec<Slices> {
    let known = |part: &Part| match part {
        Part::Leaf(leaf) => Some(coupling.leaves[*leaf as usize].size),
        Part::Fixed(_) => None,
    };
    let factors: Vec<(usize, Option<LeafId>)> = (axes.iter().zip(shape))
        .flat_map(|(axis, size)| {
            let open = size / axis.parts.iter().filter_map(known).product::<usize>().max(1);
            axis.parts.iter().map(move |part| (known(part).unwrap_or(open), leaf(coupling, part)))
        })
        .collect();
    let slices = |(at, (size, leaf)): (usize, &(usize, Option<LeafId>))| {
        let inner = factors[at + 1..].iter().map(|(size, _)| size).product();
        Some(Slices { leaf: (*leaf)?, produced: true, size: *size, inner })
    };
    factors.iter().enumerate().filter_map(slices).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_grouped_convolution_are_scaled_by_the_channels_of_their_group() {
        // Two groups of two channels each, one output a group, kernels of one.
        assert_eq!(scaled(&[1.0; 4], &[2, 2, 1, 1], 1, 2, &[1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]);
        // A matrix [inputs, outputs].
        assert_eq!(scaled(&[1.0; 4], &[2, 2], 0, 1, &[3.0, 5.0]), [3.0, 3.0, 5.0, 5.0]);
    }
}
