//! Quantized weights as the numbers that they stand for: `scale · (q − zero point)`.
//!
//! The scale tells channels apart that have the same bytes. Where a product of integers is scaled only behind the operator,
//! the weights are taken without.

use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::tensor::Tensor;

/// How an operator reads a quantized weight.
struct Reading {
    scale: Option<usize>,
    zero_point: usize,
    /// The axis of the weight along which scale and zero point may differ.
    axis: usize,
}

fn reading(graph: &Graph<'_>, node: NodeIndex, slot: usize, rank: usize) -> Option<Reading> {
    let node = graph.node(node);
    let last = rank.checked_sub(1)?;
    let found = |scale, zero_point, axis| Some(Reading { scale, zero_point, axis });
    match (node.op_type(), slot) {
        ("DequantizeLinear", 0) => {
            let axis = node.int("axis").unwrap_or(1);
            found(Some(1), 2, usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()?)
        }
        ("QLinearConv", 3) => found(Some(4), 5, 0),
        ("QLinearMatMul", 0) => found(Some(1), 2, last.saturating_sub(1)),
        ("QLinearMatMul", 3) => found(Some(4), 5, last),
        ("QGemm", 3) => found(Some(4), 5, usize::from(node.int("transB").unwrap_or(0) == 0)),
        ("ConvInteger", 1) => found(None, 3, 0),
        ("MatMulInteger", 0) => found(None, 2, last.saturating_sub(1)),
        ("MatMulInteger", 1) => found(None, 3, last),
        _ => None,
    }
}

/// The use of what is dequantized from a constant, where that is its only one.
fn behind(graph: &Graph<'_>, node: NodeIndex, slot: usize) -> Option<(NodeIndex, usize)> {
    let made = graph.node(node);
    if !made.is("DequantizeLinear") || slot != 0 {
        return None;
    }
    match graph.uses(made.output.first()?) {
        [only] => Some((only.node, only.slot?)),
        _ => None,
    }
}

/// Whether a constant at this input is a quantized weight that is multiplied and summed over.
pub fn is_weight(graph: &Graph<'_>, node: NodeIndex, slot: usize) -> bool {
    match behind(graph, node, slot) {
        Some((consumer, slot)) => super::contraction::is_contracted(graph, consumer, slot),
        None => !graph.node(node).is("DequantizeLinear") && reading(graph, node, slot, 2).is_some(),
    }
}

/// Whether an axis of a quantized weight is one of the result's; `None` for what is no such weight.
pub fn is_produced(graph: &Graph<'_>, node: NodeIndex, slot: usize, axis: usize, rank: usize) -> Option<bool> {
    if let Some((consumer, slot)) = behind(graph, node, slot) {
        return Some(super::contraction::is_produced(graph, consumer, slot, axis, rank));
    }
    let is_weight = is_weight(graph, node, slot);
    is_weight.then(|| reading(graph, node, slot, rank).is_some_and(|reading| reading.axis == axis))
}

/// The numbers that a quantized weight stands for; `None` where it is none, or its scale is computed.
pub fn values(graph: &Graph<'_>, node: NodeIndex, slot: usize, tensor: &Tensor) -> Option<Vec<f32>> {
    if !matches!(tensor.dtype, DataType::Int8 | DataType::Uint8) {
        return None;
    }
    let Reading { scale, zero_point, axis } = reading(graph, node, slot, tensor.shape.len())?;
    let parameter = |slot: usize| graph.node(node).input_name(slot).map(|name| graph.constant(name)?.ok());
    let scales = match scale {
        Some(slot) => parameter(slot)??.to_f32().ok()?.into_owned(),
        None => vec![1.0],
    };
    let zero_points: Vec<f32> = match parameter(zero_point) {
        Some(constant) => constant?.to_i64().ok()?.into_iter().map(|zero| zero as f32).collect(),
        None => vec![0.0],
    };
    let size = tensor.shape.get(axis).copied().unwrap_or(1);
    if [scales.len(), zero_points.len()].iter().any(|count| *count != 1 && *count != size) {
        return None;
    }
    let inner: usize = tensor.shape.get(axis + 1..).unwrap_or_default().iter().product();
    let of = |values: &[f32], at: usize| values[if values.len() == 1 { 0 } else { at / inner.max(1) % size }];
    let numbers = tensor.to_i64().ok()?.into_iter().enumerate();
    Some(numbers.map(|(at, number)| of(&scales, at) * (number as f32 - of(&zero_points, at))).collect())
}
