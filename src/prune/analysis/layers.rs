//! The nodes of the main graph one by one: what they make, hold and cost.

use std::collections::HashMap;

use crate::cost::{self, OpenSizes};
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::{Dim, Inferred};
use crate::onnx::summary;
use crate::spec::analysis::LayerReport;
use crate::spec::summary::Axis;

/// Elements of a constant, and how many of them are zero where they can be read.
#[derive(Clone, Copy, Debug, Default)]
struct Elements {
    all: u64,
    zeros: Option<u64>,
}

/// Every node but constants, in the graph's order.
///
/// Cost: reads every weight once.
pub fn layers(model: &Model, graph: &Graph<'_>, inferred: &Inferred, open: &OpenSizes) -> Vec<LayerReport> {
    let mut known: HashMap<&str, Elements> = HashMap::new();
    let mut found = Vec::new();
    for (index, node) in graph.proto.node.iter().enumerate().filter(|(_, node)| !node.is("Constant")) {
        let mut names: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        let held: Vec<Elements> = names
            .into_iter()
            .filter(|name| inferred.dtype(name).is_some_and(cost::is_parameter))
            .map(|name| *known.entry(name).or_insert_with(|| elements(graph, name)))
            .filter(|elements| elements.all > 0)
            .collect();
        let parameters = held.iter().map(|elements| elements.all).sum();
        let zeros: Option<u64> = held.iter().map(|elements| elements.zeros).sum();
        let (macs, macs_unknown) = match cost::macs_of_node(model, inferred, open, index) {
            Ok(macs) => (Some(macs.unwrap_or(0)), None),
            Err(reason) => (None, Some(reason)),
        };
        let dims = node.output.first().and_then(|name| inferred.dims(name));
        found.push(LayerReport {
            name: name(node).to_owned(),
            operator: node.op_type().to_owned(),
            output_shape: dims.map(|dims| dims.iter().map(|dim| axis(dim, open)).collect()),
            parameters,
            macs,
            macs_unknown,
            sparsity: zeros.filter(|_| parameters > 0).map(|zeros| zeros as f64 / parameters as f64),
        });
    }
    found
}

fn name(node: &NodeProto) -> &str {
    if node.name().is_empty() { node.output.first().map_or("", String::as_str) } else { node.name() }
}

/// An axis of which the name is lost is shown with its size for batch 1.
fn axis(dim: &Dim, open: &OpenSizes) -> Axis {
    match (summary::axis(dim), open.resolve(dim)) {
        (Axis::Unknown, Ok(size)) => Axis::Size(size),
        (axis, _) => axis,
    }
}

fn elements(graph: &Graph<'_>, name: &str) -> Elements {
    let proto_len = |dims: &[i64]| dims.iter().map(|size| u64::try_from(*size).unwrap_or(0)).product();
    match graph.constant(name) {
        None => Elements::default(),
        Some(Ok(tensor)) => {
            let all = tensor.len() as u64;
            Elements { all, zeros: Some(all - cost::nonzero(&tensor, tensor.dtype)) }
        }
        // Elements in an external file can be counted, but not read.
        Some(Err(_)) => Elements { all: graph.initializer(name).map_or(0, |t| proto_len(&t.dims)), zeros: None },
    }
}
