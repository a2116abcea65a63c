//! Which constants of a model are parameters that training may change.
//!
//! Decided by the place where an operator takes them, never by name or size: weights and biases of convolutions, dense
//! layers, recurrent layers, normalisations and embeddings. A constant that is added to or multiplied with a value counts
//! as a bias or scale where it has at least two elements and the value comes out of a layer; before the first layer it is
//! taken for the normalisation of the input, and single numbers for parts of a formula (ε, temperatures, clip bounds).
//! A parameter may lie behind `Identity`, `Transpose` and the like.

use std::collections::{HashMap, HashSet};

use crate::onnx::graph::Graph;
use crate::onnx::proto::NodeProto;

/// What a parameter does where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Biases, scales and shifts; not decayed.
    Vector,
    /// Weights of contractions; decayed where they have two or more axes.
    Matrix,
}

/// A constant that is a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub role: Role,
}

/// The parameters of a graph in the order in which nodes use them.
pub fn parameters(graph: &Graph) -> Vec<Parameter> {
    let mut found: Vec<Parameter> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut learned: HashSet<&str> = HashSet::new();
    for node in &graph.proto.node {
        let mut is_layer = false;
        for (slot, role) in slots(node) {
            let Some(name) = node.input_name(slot).and_then(|name| behind(graph, name)) else { continue };
            if matches!(node.op_type(), "Add" | "Mul") {
                let other = node.input_name(1 - slot).is_some_and(|name| learned.contains(name));
                let elements: i64 = graph.constant(name).and_then(Result::ok).map_or(1, |tensor| tensor.len() as i64);
                if !other || elements < 2 {
                    continue;
                }
            }
            is_layer = true;
            if let Some(position) = positions.get(name) {
                found[*position].role = found[*position].role.max(role);
            } else {
                positions.insert(name.to_owned(), found.len());
                found.push(Parameter { name: name.to_owned(), role });
            }
        }
        let carries = node.input.iter().any(|name| learned.contains(name.as_str()));
        if carries || (is_layer && !is_rearrangement(node)) {
            learned.extend(node.output.iter().map(String::as_str));
        }
    }
    found
}

/// The input slots in which an operator takes parameters.
pub fn slots(node: &NodeProto) -> Vec<(usize, Role)> {
    if !node.operator_domain().is_empty() {
        return Vec::new();
    }
    let (matrices, vectors): (&[usize], &[usize]) = match node.op_type() {
        "Conv" | "ConvTranspose" => (&[1], &[2]),
        "Gemm" => (&[0, 1], &[2]),
        "MatMul" => (&[0, 1], &[]),
        "Gather" => (&[0], &[]),
        "LSTM" | "GRU" | "RNN" => (&[1, 2], &[3]),
        "BatchNormalization" | "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" => (&[], &[1, 2]),
        "RMSNormalization" | "PRelu" => (&[], &[1]),
        "Add" | "Mul" => (&[], &[0, 1]),
        _ => (&[], &[]),
    };
    let with = |slots: &[usize], role: Role| slots.iter().map(|slot| (*slot, role)).collect::<Vec<_>>();
    [with(matrices, Role::Matrix), with(vectors, Role::Vector)].concat()
}

/// The floating-point constant that a value is, through nodes that only rearrange it.
pub fn behind<'g>(graph: &Graph<'g>, value: &'g str) -> Option<&'g str> {
    let mut name = value;
    loop {
        if let Some(constant) = graph.constant(name) {
            return constant.is_ok_and(|tensor| tensor.dtype.is_float()).then_some(name);
        }
        let node = graph.node(graph.producer(name)?.0);
        if !is_rearrangement(node) {
            return None;
        }
        name = node.input_name(0)?;
    }
}

fn is_rearrangement(node: &NodeProto) -> bool {
    ["Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast"]
        .iter()
        .any(|op_type| node.is(op_type))
}
