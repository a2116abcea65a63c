//! A read-only index over a graph: who makes a value, who uses it, what is constant.
//!
//! Built once from the messages and valid as long as they do not change. Changes are made by [`super::patch`], after
//! which a new index is built.

use std::collections::HashMap;

use super::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::tensor::{Tensor, TensorError};

/// Position of a node in `GraphProto.node`.
pub type NodeIndex = usize;

/// A use of a value: the node and the input slot. Uses inside a node's subgraphs have the slot `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Use {
    pub node: NodeIndex,
    pub slot: Option<usize>,
}

/// An index over one graph.
#[derive(Debug)]
pub struct Graph<'m> {
    pub proto: &'m GraphProto,
    producers: HashMap<&'m str, (NodeIndex, usize)>,
    uses: HashMap<&'m str, Vec<Use>>,
    initializers: HashMap<&'m str, usize>,
    inputs: HashMap<&'m str, usize>,
    outputs: HashMap<&'m str, usize>,
    value_infos: HashMap<&'m str, usize>,
}

impl<'m> Graph<'m> {
    /// Indexes a graph. The graph is taken to be sound (`super::check`): names are unique, nodes in topological order.
    pub fn new(proto: &'m GraphProto) -> Self {
        let mut producers = HashMap::new();
        let mut uses: HashMap<&str, Vec<Use>> = HashMap::new();
        for (node, message) in proto.node.iter().enumerate() {
            for (slot, name) in message.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                producers.insert(name.as_str(), (node, slot));
            }
            for (slot, name) in message.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                uses.entry(name).or_default().push(Use { node, slot: Some(slot) });
            }
            for subgraph in message.subgraphs() {
                for name in outer_names(subgraph) {
                    uses.entry(name).or_default().push(Use { node, slot: None });
                }
            }
        }
        Self {
            proto,
            producers,
            uses,
            initializers: proto.initializer.iter().enumerate().map(|(i, t)| (t.name(), i)).collect(),
            inputs: names(&proto.input),
            outputs: names(&proto.output),
            value_infos: names(&proto.value_info),
        }
    }

    /// The node at an index.
    pub fn node(&self, index: NodeIndex) -> &'m NodeProto {
        &self.proto.node[index]
    }

    /// The node and output slot that make a value; `None` for inputs and initializers.
    pub fn producer(&self, value: &str) -> Option<(NodeIndex, usize)> {
        self.producers.get(value).copied()
    }

    /// The uses of a value by nodes, in topological order. Being a graph output is not among them.
    pub fn uses(&self, value: &str) -> &[Use] {
        self.uses.get(value).map_or(&[], Vec::as_slice)
    }

    /// The initializer with this name.
    pub fn initializer(&self, name: &str) -> Option<&'m TensorProto> {
        self.initializers.get(name).map(|i| &self.proto.initializer[*i])
    }

    /// The constant behind a value: an initializer, or the output of a `Constant` node with a tensor or numbers.
    ///
    /// `None` where the value is computed at run time or is a graph input that an initializer only gives a default.
    /// Errors: the tensor's own.
    pub fn constant(&self, name: &str) -> Option<Result<Tensor, TensorError>> {
        if let Some(tensor) = self.initializer(name) {
            return Some(Tensor::from_proto(tensor));
        }
        let node = self.node(self.producer(name)?.0);
        if !node.is("Constant") {
            return None;
        }
        let attribute = node.attribute.first()?;
        match attribute.name() {
            "value" => attribute.t.as_ref().map(Tensor::from_proto),
            "value_int" => Some(Ok(Tensor::from_i64(&[], &[attribute.i()]))),
            "value_ints" => Some(Ok(Tensor::from_i64(&[attribute.ints.len()], &attribute.ints))),
            "value_float" => Some(Ok(Tensor::from_f32(&[], &[attribute.f()]))),
            "value_floats" => Some(Ok(Tensor::from_f32(&[attribute.floats.len()], &attribute.floats))),
            _ => None,
        }
    }

    /// Whether the value is a graph input that is fed at run time (not one that an initializer fills).
    pub fn is_input(&self, name: &str) -> bool {
        self.inputs.contains_key(name) && !self.initializers.contains_key(name)
    }

    /// The graph inputs that are fed at run time.
    pub fn fed_inputs(&self) -> impl Iterator<Item = &'m ValueInfoProto> + '_ {
        self.proto.input.iter().filter(|info| !self.initializers.contains_key(info.name()))
    }

    /// Whether the value is a graph output.
    pub fn is_output(&self, name: &str) -> bool {
        self.outputs.contains_key(name)
    }

    /// The declared type of a value: of an input, an output or a `value_info` entry (which may be stale).
    pub fn declared(&self, name: &str) -> Option<&'m ValueInfoProto> {
        let at = |map: &HashMap<&str, usize>, infos: &'m [ValueInfoProto]| map.get(name).map(|i| &infos[*i]);
        at(&self.inputs, &self.proto.input)
            .or_else(|| at(&self.outputs, &self.proto.output))
            .or_else(|| at(&self.value_infos, &self.proto.value_info))
    }
}

/// Position by name.
fn names(infos: &[ValueInfoProto]) -> HashMap<&str, usize> {
    infos.iter().enumerate().map(|(i, info)| (info.name(), i)).collect()
}

/// The names that a subgraph takes from the scopes around it.
pub fn outer_names(graph: &GraphProto) -> Vec<&str> {
    let mut own: std::collections::HashSet<&str> = graph.input.iter().map(ValueInfoProto::name).collect();
    own.extend(graph.initializer.iter().map(TensorProto::name));
    own.extend(graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)));
    let mut outer: Vec<&str> = Vec::new();
    for node in &graph.node {
        outer.extend(node.input.iter().map(String::as_str));
        for subgraph in node.subgraphs() {
            outer.extend(outer_names(subgraph));
        }
    }
    outer.extend(graph.output.iter().map(ValueInfoProto::name));
    outer.retain(|name| !name.is_empty() && !own.contains(name));
    outer.sort_unstable();
    outer.dedup();
    outer
}
