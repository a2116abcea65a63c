//! The layers that read channels: linear maps with constant weights.

use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Axis, Coupling, NO_UNIT, Part};
use crate::prune::importance::ImportanceError;
use crate::prune::importance::contraction::{is_contracted, operand};
use crate::prune::importance::observed::takes_known;
use crate::prune::recover::Layer;

/// Inputs of one map beyond which their Gram matrix, the square of their number in 64 bits, is too large; channels are then
/// looked at one by one, as if nothing made up for them.
const MOST_INPUTS: usize = 5_000;

/// A layer that reads channels that can go.
#[derive(Debug)]
pub struct Reader<'g> {
    pub(super) node: NodeIndex,
    /// Of its weight.
    pub(super) name: &'g str,
    /// The value that it reads.
    pub value: &'g str,
    /// What its error is held against, where it is measured: what it gives, behind what is linear.
    pub target: Option<String>,
    /// The axis of the value that is summed over; `None` for convolutions, which sum over a window.
    pub(super) axis: Option<usize>,
    /// Groups of a convolution, each with a map of its own.
    pub(super) groups: usize,
    /// Groups of a transposed convolution: one map, in which an input reaches the outputs of its group alone.
    pub(super) transposed_groups: usize,
    pub(super) weight: Tensor,
    pub(super) weight_axis: usize,
    /// As the repair will see it, where it has one.
    pub(super) layer: Option<Layer>,
    /// By index of the axis of the weight that is summed over: the units that it belongs to.
    pub(super) units: Vec<Vec<u32>>,
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
    pub(super) fn inputs(&self) -> usize {
        self.units.len() * self.taps()
    }

    /// Inputs that one index of the axis has.
    pub(super) fn taps(&self) -> usize {
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
}
