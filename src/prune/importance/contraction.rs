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
