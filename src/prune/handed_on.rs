//! Constants behind operators that only hand their elements on, and which axis is which in front of them.
//!
//! Exporters leave a Transpose, a Cast or an Identity between a weight and the product that takes it. Knows nothing of what
//! is done with the weight.

use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::proto::NodeProto;

/// Operators that hand their first input's elements on as they are.
const HANDING_ON: [&str; 7] = ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Whether an operator hands the elements of its first input on.
pub fn hands_on(node: &NodeProto) -> bool {
    node.operator_domain().is_empty() && HANDING_ON.contains(&node.op_type())
}

/// The constant whose elements a value holds, and the operators between, the last first.
pub fn behind<'g>(graph: &Graph<'g>, value: &'g str) -> Option<(&'g str, Vec<NodeIndex>)> {
    let (mut name, mut trail) = (value, Vec::new());
    // A graph has no cycles; the bound holds for one that was not checked.
    for _ in 0..=graph.proto.node.len() {
        if graph.constant(name).is_some() {
            return Some((name, trail));
        }
        let index = graph.producer(name)?.0;
        let node = graph.node(index);
        if !hands_on(node) {
            return None;
        }
        trail.push(index);
        name = node.input_name(0)?;
    }
    None
}

/// The axis of the constant that is the given one behind the operators of a trail.
///
/// Errors: the operator that regroups the axes.
pub fn own_axis(graph: &Graph<'_>, trail: &[NodeIndex], axis: usize, rank: usize) -> Result<usize, String> {
    trail.iter().try_fold(axis, |axis, index| {
        let passed = graph.node(*index);
        axis_before(passed, axis, rank).ok_or_else(|| format!("{} regroups its axes before it is used", passed.label()))
    })
}

/// The type that the elements of a constant have behind the operators of a trail; `None` where it is not known here.
pub fn dtype_behind(graph: &Graph<'_>, trail: &[NodeIndex], own: DataType) -> Option<DataType> {
    match trail.iter().map(|index| graph.node(*index)).find(|node| node.is("Cast")) {
        Some(cast) => DataType::from_number(i32::try_from(cast.int("to")?).ok()?),
        None => Some(own),
    }
}

/// The axis that an operator was given where it gave `axis`.
fn axis_before(node: &NodeProto, axis: usize, rank: usize) -> Option<usize> {
    match node.op_type() {
        "Cast" | "Identity" => Some(axis),
        "Transpose" => match node.ints("perm") {
            Some(perm) => usize::try_from(*perm.get(axis)?).ok().filter(|axis| *axis < rank),
            None => (rank - 1).checked_sub(axis),
        },
        _ => None,
    }
}
