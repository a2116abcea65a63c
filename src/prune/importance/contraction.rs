//! What operators do with a weight: which inputs are multiplied and summed over, and which axes of them make channels.

use crate::onnx::graph::{Graph, NodeIndex};

/// Whether a constant at this input is multiplied and summed over.
pub fn is_contracted(graph: &Graph<'_>, node: NodeIndex, slot: usize) -> bool {
    let node = graph.node(node);
    match node.op_type() {
        "Attention" if !node.operator_domain().is_empty() => slot == 1,
        "Conv" | "ConvTranspose" | "FusedConv" | "FusedGemm" | "Gemm" => slot == 1,
        "Einsum" | "FusedMatMul" | "MatMul" => true,
        "GRU" | "LSTM" | "RNN" => matches!(slot, 1 | 2),
        _ => false,
    }
}

/// Whether an axis of a contracted constant of so many axes is one of the result's, rather than summed over.
pub fn is_produced(graph: &Graph<'_>, node: NodeIndex, slot: usize, axis: usize, rank: usize) -> bool {
    let node = graph.node(node);
    match node.op_type() {
        "Conv" | "FusedConv" => axis == 0,
        "FusedGemm" | "Gemm" => axis == usize::from(node.int("transB").unwrap_or(0) == 0),
        "Attention" | "ConvTranspose" | "GRU" | "LSTM" | "RNN" => axis == 1,
        // The operand on the left is summed over its last axis, the one on the right over the one before it.
        "FusedMatMul" if slot == 1 && node.int("transB").unwrap_or(0) != 0 => axis + 1 != rank,
        "FusedMatMul" | "MatMul" => axis + if slot == 0 { 1 } else { 2 } != rank,
        "Einsum" => {
            let equation: String =
                node.text("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
            let Some((terms, result)) = equation.split_once("->") else { return true };
            let label = terms.split(',').nth(slot).and_then(|term| term.chars().nth(axis));
            label.is_none_or(|label| result.contains(label))
        }
        _ => true,
    }
}

/// The computed operand that a weight is multiplied with, and the axes of both that are summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand<'g> {
    pub value: &'g str,
    pub axis: usize,
    pub weight_axis: usize,
    /// Groups of channels; the operand's axis holds those of all groups, the weight's those of one.
    pub groups: usize,
}

/// The operand of a weight of so many axes; `None` where the operator's is not one value (recurrent weights) or the
/// contraction is not along one axis. `rank` gives the number of axes of a value.
pub fn operand<'g>(
    graph: &Graph<'g>,
    node: NodeIndex,
    slot: usize,
    weight_rank: usize,
    rank: &dyn Fn(&str) -> Option<usize>,
) -> Option<Operand<'g>> {
    let proto = graph.node(node);
    let value = proto.input_name(usize::from(slot == 0)).filter(|name| graph.constant(name).is_none())?;
    let found = |axis, weight_axis, groups| Some(Operand { value, axis, weight_axis, groups });
    let flag = |name| usize::from(proto.int(name).unwrap_or(0) != 0);
    match (proto.op_type(), slot) {
        ("Conv", 1) => found(1, 1, usize::try_from(proto.int("group").unwrap_or(1)).ok()?.max(1)),
        ("ConvTranspose", 1) => found(1, 0, 1),
        ("Gemm", 1) => found(1 - flag("transA"), flag("transB"), 1),
        ("MatMul", 1) if weight_rank >= 2 => found(rank(value)?.checked_sub(1)?, weight_rank - 2, 1),
        ("MatMul", 0) if weight_rank >= 2 => found(rank(value)?.checked_sub(2)?, weight_rank - 1, 1),
        ("GRU" | "LSTM" | "RNN", 1) if weight_rank == 3 => found(2, 2, 1),
        _ => None,
    }
}
