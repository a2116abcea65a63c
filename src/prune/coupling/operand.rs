//! The axes of what a node reads and makes, as factors.

use std::collections::HashMap;

use super::{Axis, Coupling, Layout};
use crate::cost::Extent;
use crate::onnx::graph::NodeIndex;
use crate::onnx::proto::NodeProto;

/// An index over the tensors of a coupling, by their place in the graph.
#[derive(Debug)]
pub struct Operands<'c> {
    values: HashMap<&'c str, &'c Layout>,
    uses: HashMap<(NodeIndex, usize), &'c Layout>,
}

impl<'c> Operands<'c> {
    pub fn new(coupling: &'c Coupling) -> Self {
        let (mut values, mut uses) = (HashMap::new(), HashMap::new());
        for tensor in &coupling.tensors {
            match tensor.constant_use {
                Some(at) => drop(uses.insert(at, tensor)),
                None => drop(values.insert(tensor.name.as_str(), tensor)),
            }
        }
        Self { values, uses }
    }

    /// What a node reads at a slot.
    pub fn input(&self, index: NodeIndex, node: &NodeProto, slot: usize) -> Option<&'c Layout> {
        self.uses.get(&(index, slot)).or_else(|| self.values.get(node.input_name(slot)?)).copied()
    }

    /// What a node makes at a slot.
    pub fn output(&self, node: &NodeProto, slot: usize) -> Option<&'c Layout> {
        self.values.get(node.output.get(slot)?.as_str()).copied()
    }

    /// The axis that a formula names.
    ///
    /// Errors: the value whose shape is unknown.
    pub fn axis(&self, index: NodeIndex, node: &NodeProto, extent: Extent) -> Result<&'c Axis, String> {
        let (name, layout, axis) = match extent {
            Extent::Input { slot, axis } => (node.input_name(slot), self.input(index, node, slot), axis),
            Extent::Output { slot, axis } => (node.output.get(slot).map(String::as_str), self.output(node, slot), axis),
        };
        let found = layout.and_then(|layout| layout.axes.as_ref()?.get(axis));
        found.ok_or_else(|| format!("the shape of `{}` is unknown", name.unwrap_or_default()))
    }
}
