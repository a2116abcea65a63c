//! Names for what a cut adds to a graph.

use std::collections::HashSet;

use crate::onnx::graph::Graph;

/// Names that no value of the graph has. The same calls give the same names.
pub struct FreshNames {
    taken: HashSet<String>,
}

impl FreshNames {
    /// Knows the names that are taken.
    pub fn new(graph: &Graph<'_>) -> Self {
        let initializers = graph.proto.initializer.iter().map(|tensor| tensor.name().to_owned());
        let inputs = graph.proto.input.iter().map(|info| info.name().to_owned());
        let values = graph.proto.node.iter().flat_map(|node| node.output.iter().cloned());
        Self { taken: initializers.chain(inputs).chain(values).collect() }
    }

    /// A name that tells where it comes from.
    pub fn after(&mut self, stem: &str) -> String {
        let mut count = 1;
        loop {
            let name = format!("{stem}_cut{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
            count += 1;
        }
    }
}
