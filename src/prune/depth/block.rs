//! Residual blocks of a graph: what is added to a value of the same shape and is computed from that value.
//!
//! Found by what depends on what, never by names. Knows nothing of which block goes.

use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex, outer_names};
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::Inferred;
use crate::spec::report::Frozen;

use super::super::names::Excluded;

/// A block that can be left out: everything between `shortcut` and the addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'g> {
    /// The addition.
    pub add: NodeIndex,
    /// What the addition gives.
    pub sum: &'g str,
    /// The operand that stays.
    pub shortcut: &'g str,
    /// The nodes that go with the addition, in topological order.
    pub nodes: Vec<NodeIndex>,
}

/// Blocks in topological order, and additions that look like the end of one but cannot go.
#[derive(Clone, Debug, Default)]
pub struct Blocks<'g> {
    pub found: Vec<Block<'g>>,
    pub frozen: Vec<Frozen>,
}

/// Finds the residual blocks. An addition whose operands share no layer, or one of which is constant, is none and is not
/// listed; neither is one without a weight matrix between its operands, such as in an activation function.
pub fn blocks<'g>(graph: &Graph<'g>, inferred: &Inferred, exclude: &Excluded) -> Blocks<'g> {
    let finder = Finder { graph, inferred, exclude, fed: fed(graph) };
    let mut blocks = Blocks::default();
    for (index, node) in graph.proto.node.iter().enumerate() {
        if !(node.is("Add") || node.is("Sum")) || node.input.len() != 2 {
            continue;
        }
        let Some(sum) = node.output.first().map(String::as_str) else { continue };
        match finder.block(index, sum) {
            Ok(Some(block)) => blocks.found.push(block),
            Ok(None) => {}
            Err(reason) => {
                blocks.frozen.push(Frozen { what: sum.to_owned(), operator: Some(node.label()), reason });
            }
        }
    }
    blocks
}

struct Finder<'a, 'g> {
    graph: &'a Graph<'g>,
    inferred: &'a Inferred,
    exclude: &'a Excluded,
    /// Nodes that depend on what the model is fed.
    fed: Vec<bool>,
}

impl<'g> Finder<'_, 'g> {
    /// The block that ends in an addition; `None` where it does not look like the end of one.
    ///
    /// Errors: why the block cannot go.
    fn block(&self, add: NodeIndex, sum: &'g str) -> Result<Option<Block<'g>>, String> {
        let node = self.graph.node(add);
        let (a, b) = (node.input[0].as_str(), node.input[1].as_str());
        if a == b || !self.is_fed(a) || !self.is_fed(b) || !self.inferred.dtype(sum).is_some_and(DataType::is_float) {
            return Ok(None);
        }
        for (shortcut, branch) in [(a, b), (b, a)] {
            let nodes = self.between(shortcut, branch, add);
            if nodes.is_empty() {
                continue;
            }
            if !nodes.iter().any(|index| self.has_matrix(*index)) {
                return Ok(None);
            }
            let block = Block { add, sum, shortcut, nodes };
            return self.may_go(&block).map(|()| Some(block));
        }
        let (before_a, before_b) = (self.before(a, add), self.before(b, add));
        let own = |mine: &[bool], other: &[bool]| (0..add).any(|at| mine[at] && !other[at] && self.has_matrix(at));
        if own(&before_a, &before_b) || own(&before_b, &before_a) {
            return Err("neither operand is computed from the other, so that none of them can stand for the sum".into());
        }
        Ok(None)
    }

    fn may_go(&self, block: &Block<'g>) -> Result<(), String> {
        let (sum, shortcut) = (self.inferred.dims(block.sum), self.inferred.dims(block.shortcut));
        if sum.is_none() || sum != shortcut {
            return Err(format!("the sum has another shape than `{}`, or one of them is unknown", block.shortcut));
        }
        let inside = |index: NodeIndex| block.nodes.binary_search(&index).is_ok();
        for index in &block.nodes {
            let node = self.graph.node(*index);
            let mut names = node.input.iter().chain(&node.output).filter(|name| *name != block.shortcut);
            if self.exclude.has_node(node) || names.any(|name| self.exclude.has_initializer(name)) {
                return Err("it is excluded".into());
            }
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                let outside = self.graph.uses(output).iter().find(|used| !inside(used.node) && used.node != block.add);
                if let Some(used) = outside {
                    return Err(format!("{} uses `{output}` inside of it", self.graph.node(used.node).label()));
                }
                if self.graph.is_output(output) {
                    return Err(format!("`{output}` inside of it is an output of the model"));
                }
            }
            for input in sources(node).into_iter().filter(|input| *input != block.shortcut) {
                let made_inside = self.graph.producer(input).is_some_and(|(producer, _)| inside(producer));
                if made_inside || !self.is_fed(input) || !self.inferred.dtype(input).is_some_and(DataType::is_float) {
                    continue;
                }
                // A mask or a table of positions serves every block; what serves this one alone would go with it.
                if !self.graph.uses(input).iter().any(|used| !inside(used.node)) {
                    return Err(format!("`{input}` enters it beside `{}` and serves nothing else", block.shortcut));
                }
            }
        }
        let add = self.graph.node(block.add);
        if self.exclude.has_node(add) || self.exclude.has_initializer(block.sum) {
            return Err("it is excluded".into());
        }
        Ok(())
    }

    /// The nodes that depend on `from` and that `to` depends on.
    fn between(&self, from: &str, to: &str, end: NodeIndex) -> Vec<NodeIndex> {
        let mut after = vec![false; end];
        let start = self.graph.producer(from).map_or(0, |(producer, _)| producer + 1);
        for index in start..end {
            let made_after = |name: &str| self.graph.producer(name).is_some_and(|(producer, _)| after[producer]);
            after[index] = sources(self.graph.node(index)).into_iter().any(|name| name == from || made_after(name));
        }
        let before = self.before(to, end);
        (start..end).filter(|index| after[*index] && before[*index]).collect()
    }

    /// Which of the nodes up to `end` a value depends on.
    fn before(&self, value: &str, end: NodeIndex) -> Vec<bool> {
        let mut needed = vec![false; end];
        let mark = |name: &str, needed: &mut Vec<bool>| {
            if let Some((producer, _)) = self.graph.producer(name).filter(|(producer, _)| *producer < end) {
                needed[producer] = true;
            }
        };
        mark(value, &mut needed);
        for index in (0..end).rev() {
            if needed[index] {
                for name in sources(self.graph.node(index)) {
                    mark(name, &mut needed);
                }
            }
        }
        needed
    }

    fn is_fed(&self, name: &str) -> bool {
        self.graph.is_input(name) || self.graph.producer(name).is_some_and(|(producer, _)| self.fed[producer])
    }

    /// Whether a node has an operand that does not depend on what the model is fed and has two axes that are not 1.
    fn has_matrix(&self, index: NodeIndex) -> bool {
        let matrix = |name: &&str| {
            let shape = self.inferred.fixed_shape(name).unwrap_or_default();
            shape.iter().filter(|size| **size > 1).count() > 1
                && self.inferred.dtype(name).is_some_and(crate::cost::is_parameter)
        };
        sources(self.graph.node(index)).iter().filter(|name| !self.is_fed(name)).any(matrix)
    }
}

/// Every value that a node reads, those that its subgraphs take from around them included.
fn sources(node: &NodeProto) -> Vec<&str> {
    let outer = node.subgraphs().flat_map(outer_names);
    node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).chain(outer).collect()
}

fn fed(graph: &Graph<'_>) -> Vec<bool> {
    let mut fed = Vec::with_capacity(graph.proto.node.len());
    for node in &graph.proto.node {
        let is_fed = |name: &str| {
            graph.is_input(name) || graph.producer(name).is_some_and(|(at, _)| fed.get(at).copied().unwrap_or(false))
        };
        fed.push(sources(node).into_iter().any(is_fed));
    }
    fed
}
