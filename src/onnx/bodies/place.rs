//! Where the nodes and constants of a laid out model stand in the model as it was.

use std::collections::HashMap;

use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;

/// A model with the graphs of its nodes laid out.
#[derive(Clone, Debug)]
pub struct LaidOut {
    pub model: Model,
    /// By node of the model.
    pub(super) places: Vec<Place>,
    /// Constants that come from graphs inside of nodes, by their names in the model.
    pub(super) constants: HashMap<String, Constant>,
    /// Ways to the graphs, by number; the main graph is the first.
    pub(super) graphs: Vec<Vec<Step>>,
}

/// A step on the way from the main graph to one inside of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Position in the graph that the way has led to.
    pub node: NodeIndex,
    pub label: String,
    /// The attribute with the graph.
    pub attribute: String,
}

/// Where a node stands in the model as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the graph.
    pub(super) graph: usize,
    /// Position in the graph; what hands on an output of a graph stands behind its last node.
    pub node: NodeIndex,
    pub label: String,
}

/// Where a constant comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) graph: usize,
    pub(super) name: String,
}

impl LaidOut {
    /// Where a node stands; `None` for one that was added since.
    pub fn place(&self, node: NodeIndex) -> Option<&Place> {
        self.places.get(node)
    }

    /// The way to the graph of a place.
    pub fn way(&self, place: &Place) -> &[Step] {
        &self.graphs[place.graph]
    }

    /// The way to the graph that a constant comes from, and its name there.
    pub fn constant<'n>(&'n self, name: &'n str) -> (&'n [Step], &'n str) {
        match self.constants.get(name) {
            Some(constant) => (&self.graphs[constant.graph], &constant.name),
            None => (&[], name),
        }
    }
}
