//! A model without some of its blocks: what used a sum uses its shortcut.

use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::patch::{Change, PatchError, apply};
use crate::onnx::proto::NodeProto;

use super::block::Block;

/// Leaves out blocks. Outputs keep their names; what only the blocks needed goes with them.
///
/// Errors: the model without them is not sound, which would be a mistake in finding them.
pub fn without(model: &Model, graph: &Graph<'_>, blocks: &[&Block<'_>]) -> Result<Model, PatchError> {
    let mut changes = Vec::new();
    for block in blocks {
        let shortcut = standing(graph, blocks, block.shortcut).to_owned();
        if keeps_its_name(graph, block) {
            let node = NodeProto {
                name: graph.node(block.add).name.clone(),
                op_type: Some("Identity".into()),
                input: vec![shortcut],
                output: vec![block.sum.to_owned()],
                ..NodeProto::default()
            };
            changes.extend([Change::RemoveNode { node: block.sum.to_owned() }, Change::InsertNode { node }]);
            continue;
        }
        for used in graph.uses(block.sum) {
            let (Some(slot), user) = (used.slot, graph.node(used.node)) else { continue };
            if let Some(node) = user.output.iter().find(|output| !output.is_empty()) {
                changes.push(Change::ReplaceInput { node: node.clone(), slot, value: shortcut.clone() });
            }
        }
    }
    Ok(apply(model, &changes)?.model)
}

/// What stands for a value when the blocks are gone.
fn standing<'g>(graph: &Graph<'_>, blocks: &[&Block<'g>], value: &'g str) -> &'g str {
    let mut value = value;
    while let Some(block) = blocks.iter().find(|block| block.sum == value && !keeps_its_name(graph, block)) {
        value = block.shortcut;
    }
    value
}

/// Whether others than inputs of nodes know the sum by its name.
fn keeps_its_name(graph: &Graph<'_>, block: &Block<'_>) -> bool {
    graph.is_output(block.sum) || graph.uses(block.sum).iter().any(|used| used.slot.is_none())
}
