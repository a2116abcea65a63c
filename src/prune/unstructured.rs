//! Single weights set to zero: the smallest of all weights of contractions go, wherever they are.

use std::collections::HashSet;

use bytes::Bytes;

use crate::onnx::attribute::Attribute;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensor::{Tensor, TensorError};
use crate::spec::prune::Criterion;
use crate::spec::report::Frozen;

use super::importance::{ImportanceError, is_contracted};
use super::names::Excluded;

/// A model with zeros.
#[derive(Clone, Debug)]
pub struct Sparse {
    pub model: Model,
    /// Weights that could go.
    pub prunable: u64,
    /// Weights that are zero now, those that were before included.
    pub zeros: u64,
    /// Matrices that were left alone.
    pub frozen: Vec<Frozen>,
}

/// Operators that hand their first input's elements on as they are.
const HANDING_ON: [&str; 7] = ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Sets at least the given share of the weights of convolutions and matrix products to zero, those that score
/// least first, ties by tensor and position. A weight is found behind operators that only hand it on.
/// Excluded constants stay.
///
/// Errors: a weight that cannot be read or is not a number.
pub fn sparsify(
    model: &Model,
    share: f64,
    criterion: Criterion,
    seed: u64,
    exclude: &Excluded,
) -> Result<Sparse, ImportanceError> {
    let graph = model.graph();
    let mut weights = Vec::new();
    for name in contracted(&graph, exclude) {
        let unreadable = |source: TensorError| ImportanceError::Weight { tensor: name.to_owned(), source };
        let Some(tensor) = graph.constant(name) else { continue };
        let tensor = tensor.map_err(unreadable)?;
        if tensor.dtype.is_float() {
            let values = tensor.to_f32().map_err(unreadable)?.into_owned();
            if values.iter().any(|value| value.is_nan()) {
                return Err(ImportanceError::NotANumber { tensor: name.to_owned() });
            }
            weights.push((name, tensor, values));
        }
    }
    let prunable: usize = weights.iter().map(|(_, _, values)| values.len()).sum();
    let wanted = (share * prunable as f64 - 1e-6).ceil().max(0.0) as usize;
    let tensors: Vec<&[f32]> = weights.iter().map(|(_, _, values)| values.as_slice()).collect();
    let mut keys: Vec<(f64, usize)> =
        super::importance::of_weights(criterion, &tensors, seed)?.into_iter().zip(0..).collect();
    if wanted > 0 && wanted < keys.len() {
        keys.select_nth_unstable_by(wanted - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
    let mut goes = vec![false; prunable];
    keys[..wanted.min(prunable)].iter().for_each(|(_, at)| goes[*at] = true);
    let mut sparse = model.clone();
    let mut offset = 0;
    for (name, tensor, values) in &weights {
        let width = tensor.dtype.bits() / 8;
        let mut data = tensor.data.to_vec();
        for at in (0..values.len()).filter(|at| goes[offset + at]) {
            data[at * width..(at + 1) * width].fill(0);
        }
        offset += values.len();
        replace(&mut sparse, name, &Tensor { data: Bytes::from(data), ..tensor.clone() });
    }
    let pruned: HashSet<&str> = weights.iter().map(|(name, _, _)| *name).collect();
    let zeros = zeros(&sparse.graph(), &pruned);
    Ok(Sparse { zeros, prunable: prunable as u64, frozen: left_alone(&graph, &pruned, exclude), model: sparse })
}

/// The constants that are multiplied and summed over, each once, in the order of their first use.
fn contracted<'g>(graph: &Graph<'g>, exclude: &Excluded) -> Vec<&'g str> {
    let mut names: Vec<&str> = Vec::new();
    for (index, node) in graph.proto.node.iter().enumerate().filter(|(_, node)| !exclude.has_node(node)) {
        for slot in (0..node.input.len()).filter(|slot| is_contracted(graph, index, *slot)) {
            let Some(name) = behind(graph, &node.input[slot]) else { continue };
            if !names.contains(&name) && !exclude.has_initializer(name) {
                names.push(name);
            }
        }
    }
    names
}

/// The constant whose elements a value holds.
fn behind<'g>(graph: &Graph<'g>, value: &'g str) -> Option<&'g str> {
    let mut name = value;
    // A graph has no cycles; the bound holds for one that was not checked.
    for _ in 0..=graph.proto.node.len() {
        if graph.constant(name).is_some() {
            return Some(name);
        }
        let node = graph.node(graph.producer(name)?.0);
        if !node.operator_domain().is_empty() || !HANDING_ON.contains(&node.op_type()) {
            return None;
        }
        name = node.input_name(0)?;
    }
    None
}

/// Zeros in some constants, counted in the model that goes out.
fn zeros(graph: &Graph<'_>, names: &HashSet<&str>) -> u64 {
    let tensors = names.iter().filter_map(|name| graph.constant(name)?.ok());
    let count = |tensor: Tensor| tensor.to_f32().map_or(0, |values| values.iter().filter(|v| **v == 0.0).count());
    tensors.map(|tensor| count(tensor) as u64).sum()
}

/// Constants of two axes or more that got no zeros, with the reason.
fn left_alone(graph: &Graph<'_>, pruned: &HashSet<&str>, exclude: &Excluded) -> Vec<Frozen> {
    let constants = graph.proto.node.iter().filter(|node| node.is("Constant")).flat_map(|node| &node.output);
    let names = graph.proto.initializer.iter().map(TensorProto::name).chain(constants.map(String::as_str));
    let mut frozen = Vec::new();
    for name in names.filter(|name| !pruned.contains(name)) {
        let Some(Ok(tensor)) = graph.constant(name) else { continue };
        if !tensor.dtype.is_float() || tensor.shape.len() < 2 {
            continue;
        }
        let user = graph.uses(name).first().map(|used| graph.node(used.node));
        let excluded = exclude.has_initializer(name) || user.is_some_and(|node| exclude.has_node(node));
        let reason =
            if excluded { "it is excluded" } else { "no convolution or matrix product takes its elements as they are" };
        let operator = user.map(NodeProto::label);
        frozen.push(Frozen { what: name.to_owned(), operator, reason: reason.to_owned() });
    }
    frozen
}

fn replace(model: &mut Model, name: &str, tensor: &Tensor) {
    let graph = model.graph_proto_mut();
    if let Some(proto) = graph.initializer.iter_mut().find(|proto| proto.name() == name) {
        *proto = tensor.to_proto(name);
    } else if let Some(node) =
        graph.node.iter_mut().find(|node| node.is("Constant") && node.output.iter().any(|output| output == name))
    {
        node.attribute.clear();
        node.set_attribute("value", Attribute::Tensor(tensor.to_proto("")));
    }
}
