//! The constants of a graph that are multiplied and summed over, found behind operators that only hand them on.

use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::{Tensor, TensorError};

use super::super::handed_on::{behind, own_axis};
use super::super::importance::{ImportanceError, Operand, is_contracted, operand};
use super::super::names::Excluded;

/// A constant that contractions use.
#[derive(Clone, Debug)]
pub struct Weight<'g> {
    pub name: &'g str,
    pub tensor: Tensor,
    pub values: Vec<f32>,
    uses: Vec<Contraction>,
}

/// Where a weight is summed over, and what hands it on until there, the last first.
#[derive(Clone, Debug)]
struct Contraction {
    node: NodeIndex,
    slot: usize,
    trail: Vec<NodeIndex>,
}

/// The floating-point constants that are multiplied and summed over, each once, in the order of their first use.
///
/// Errors: a weight that cannot be read or is not a number.
pub fn weights<'g>(graph: &Graph<'g>, exclude: &Excluded) -> Result<Vec<Weight<'g>>, ImportanceError> {
    let mut found: Vec<Weight<'g>> = Vec::new();
    for (index, node) in graph.proto.node.iter().enumerate().filter(|(_, node)| !exclude.has_node(node)) {
        for slot in (0..node.input.len()).filter(|slot| is_contracted(graph, index, *slot)) {
            let Some((name, trail)) = behind(graph, &node.input[slot]) else { continue };
            let used = Contraction { node: index, slot, trail };
            if let Some(weight) = found.iter_mut().find(|weight| weight.name == name) {
                weight.uses.push(used);
                continue;
            }
            let Some(tensor) = graph.constant(name).filter(|_| !exclude.has_initializer(name)) else { continue };
            let unreadable = |source: TensorError| ImportanceError::Weight { tensor: name.to_owned(), source };
            let tensor = tensor.map_err(unreadable)?;
            if tensor.dtype.is_float() {
                let values = tensor.to_f32().map_err(unreadable)?.into_owned();
                if values.iter().any(|value| value.is_nan()) {
                    return Err(ImportanceError::NotANumber { tensor: name.to_owned() });
                }
                found.push(Weight { name, tensor, values, uses: vec![used] });
            }
        }
    }
    Ok(found)
}

impl Weight<'_> {
    /// The operator that first uses it.
    pub fn user(&self, graph: &Graph<'_>) -> Option<String> {
        self.uses.first().map(|used| graph.node(used.trail.last().copied().unwrap_or(used.node)).label())
    }

    /// The axis along which runs of `m` lie: the one that is summed over, which is the input channels of a convolution
    /// (within a group), the rows of a matrix that is multiplied from the right and the columns of one from the left. This
    /// is the axis along which sparse tensor cores expect a pattern.
    ///
    /// Errors: why there is none, in a sentence.
    pub fn axis_of_runs(&self, graph: &Graph<'_>, m: usize) -> Result<usize, String> {
        let mut found: Option<(usize, String)> = None;
        for used in &self.uses {
            let node = graph.node(used.node);
            let rank = self.tensor.shape.len();
            let axis = summed_axis(node, used.slot, rank)
                .ok_or_else(|| format!("the axis that {} sums over is not told", node.label()))?;
            let axis = own_axis(graph, &used.trail, axis, rank)?;
            // The groups of a transposed convolution share the axis, one after the other.
            let groups = if node.is("ConvTranspose") { node.int("group").unwrap_or(1).max(1) as usize } else { 1 };
            let size = self.tensor.shape[axis] / groups;
            if size == 0 || !size.is_multiple_of(m) {
                return Err(format!("axis {axis}, which is summed over, has {size} elements, not a multiple of {m}"));
            }
            match &found {
                Some((other, first)) if *other != axis => {
                    return Err(format!("{first} sums over axis {other}, {} over axis {axis}", node.label()));
                }
                Some(_) => {}
                None => found = Some((axis, node.label())),
            }
        }
        found.map(|(axis, _)| axis).ok_or_else(|| "nothing sums over it".to_owned())
    }

    /// What it is multiplied with wherever it is used; `None` where that is not told.
    pub fn operands<'g>(&self, graph: &Graph<'g>, inferred: &Inferred) -> Option<Vec<Operand<'g>>> {
        let rank = self.tensor.shape.len();
        let found = |used: &Contraction| {
            let operand = operand(graph, used.node, used.slot, rank, &|name| inferred.rank(name))?;
            let weight_axis = own_axis(graph, &used.trail, operand.weight_axis, rank).ok()?;
            // The group of a weight is told by its first axis.
            (operand.groups == 1 || used.trail.is_empty()).then_some(Operand { weight_axis, ..operand })
        };
        self.uses.iter().map(found).collect()
    }

    /// For each weight a number of the output that it is summed into; `None` where its uses do not agree.
    pub fn outputs(&self, graph: &Graph<'_>) -> Option<Vec<usize>> {
        let shape = &self.tensor.shape;
        let mut found: Option<Vec<(usize, usize)>> = None;
        for used in &self.uses {
            // Axes that tell outputs apart, and how many neighbours along them are one.
            let mut axes = Vec::new();
            for (axis, size) in shape.iter().enumerate() {
                if let Some(neighbours) = neighbours(graph.node(used.node), used.slot, axis, *size, shape.len()) {
                    axes.push((own_axis(graph, &used.trail, axis, shape.len()).ok()?, neighbours));
                }
            }
            axes.sort_unstable();
            if found.as_ref().is_some_and(|found| *found != axes) {
                return None;
            }
            found = Some(axes);
        }
        let axes = found?;
        let number = |at: usize| {
            axes.iter().fold(0, |number, (axis, neighbours)| {
                let inner: usize = shape[axis + 1..].iter().product();
                number * shape[*axis].div_ceil(*neighbours) + at / inner % shape[*axis] / neighbours
            })
        };
        Some((0..self.values.len()).map(number).collect())
    }
}

/// How many neighbours along an axis of an operand belong to one output; `None` where the axis is summed over.
fn neighbours(node: &NodeProto, slot: usize, axis: usize, size: usize, rank: usize) -> Option<usize> {
    match node.op_type() {
        "Conv" | "FusedConv" => (axis == 0).then_some(1),
        // The input channels of a group.
        "ConvTranspose" if axis == 0 => Some(size / node.int("group").unwrap_or(1).max(1) as usize),
        "ConvTranspose" => (axis == 1).then_some(1),
        _ => (summed_axis(node, slot, rank) != Some(axis)).then_some(1),
    }
}

/// The axis of an operand that an operator sums over.
fn summed_axis(node: &NodeProto, slot: usize, rank: usize) -> Option<usize> {
    let axis = match node.op_type() {
        "Conv" => 1,
        "ConvTranspose" => 0,
        "Gemm" => usize::from(node.int("transB").unwrap_or(0) != 0),
        "MatMul" if slot == 0 => rank.checked_sub(1)?,
        "MatMul" => rank.saturating_sub(2),
        "GRU" | "LSTM" | "RNN" => 2,
        _ => return None,
    };
    (axis < rank).then_some(axis)
}
