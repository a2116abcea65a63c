//! The weights that a method of single layers left as they were without a word of its own, with the reason: nothing is skipped
//! silently.
//!
//! One list for all such methods, so that none forgets the weights behind other operators, of other types, or in the graphs
//! inside of nodes. Knows nothing of what the methods do.

use std::collections::HashSet;

use super::handed_on::hands_on;
use super::importance::is_contracted;
use super::names::Excluded;
use crate::cost;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, Use};
use crate::onnx::proto::{GraphProto, TensorProto};
use crate::spec::report::Frozen;

/// The constants of two axes or more that hold parameters and are neither `touched` nor `told` of, those in graphs inside of
/// nodes included. `touched` are names of the main graph.
pub fn untouched(graph: &Graph<'_>, touched: &[&str], told: &[Frozen], exclude: &Excluded) -> Vec<Frozen> {
    let known: HashSet<&str> = touched.iter().copied().chain(told.iter().map(|told| told.what.as_str())).collect();
    let mut found = Vec::new();
    for (name, dtype) in weights(graph.proto).filter(|(name, _)| !known.contains(name)) {
        let (operator, reason) = reason(graph, name, dtype, exclude);
        found.push(Frozen { what: name.to_owned(), operator, reason });
    }
    inside(graph.proto, exclude, &mut found);
    found
}

/// Those of the graphs inside of the nodes of a graph.
fn inside(proto: &GraphProto, exclude: &Excluded, found: &mut Vec<Frozen>) {
    for node in &proto.node {
        for body in node.subgraphs() {
            let graph = Graph::new(body);
            for (name, _) in weights(body) {
                let user = graph.uses(name).first().map(|used| graph.node(used.node));
                let excluded = exclude.has_initializer(name) || user.is_some_and(|user| exclude.has_node(user));
                let reason = if excluded {
                    "it is excluded".to_owned()
                } else {
                    format!("it is in a graph inside of {}", node.label())
                };
                found.push(Frozen {
                    what: name.to_owned(),
                    operator: user.map(crate::onnx::proto::NodeProto::label),
                    reason,
                });
            }
            inside(body, exclude, found);
        }
    }
}

/// Constants of two axes or more that hold parameters.
fn weights(proto: &GraphProto) -> impl Iterator<Item = (&str, DataType)> {
    let constants = proto.node.iter().filter(|node| node.is("Constant")).filter_map(|node| {
        let tensor = node.find_attribute("value")?.t.as_ref()?;
        Some((node.output.first()?.as_str(), tensor))
    });
    let all = proto.initializer.iter().map(|tensor| (tensor.name(), tensor)).chain(constants);
    all.filter_map(|(name, tensor): (_, &TensorProto)| {
        let dtype = DataType::from_number(tensor.data_type())?;
        (tensor.dims.len() >= 2 && cost::is_parameter(dtype)).then_some((name, dtype))
    })
}

/// The operator that reads a constant, and why that keeps it as it is.
fn reason(graph: &Graph<'_>, name: &str, dtype: DataType, exclude: &Excluded) -> (Option<String>, String) {
    let Some(used) = graph.uses(name).first() else { return (None, "no operator reads it".to_owned()) };
    let user = graph.node(used.node);
    let contraction = contraction(graph, *used);
    let excluded = exclude.has_initializer(name)
        || exclude.has_node(user)
        || contraction.is_some_and(|used| exclude.has_node(graph.node(used.node)));
    let reason = if excluded {
        "it is excluded".to_owned()
    } else if used.slot.is_none() {
        format!("a graph inside of {} reads it", user.label())
    } else if !dtype.is_float() {
        format!("its elements are {dtype}, not floating-point numbers")
    } else {
        match contraction {
            Some(last) if last.node == used.node => format!("weights of {} are not changed so", user.op_type()),
            Some(last) => {
                format!("it is not what {} takes: {} is between", graph.node(last.node).label(), user.label())
            }
            None => "no convolution or matrix product takes its elements as they are".to_owned(),
        }
    };
    (Some(user.label()), reason)
}

/// Where a value is multiplied and summed over, as it is or behind operators that hand it on.
fn contraction(graph: &Graph<'_>, mut used: Use) -> Option<Use> {
    // A graph has no cycles; the bound holds for one that was not checked.
    for _ in 0..=graph.proto.node.len() {
        let slot = used.slot?;
        if is_contracted(graph, used.node, slot) {
            return Some(used);
        }
        let node = graph.node(used.node);
        if slot != 0 || !(hands_on(node) || node.is("DequantizeLinear")) {
            return None;
        }
        used = *graph.uses(node.output.first()?).first()?;
    }
    None
}
