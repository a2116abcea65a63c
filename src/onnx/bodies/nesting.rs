//! Which body each node of a laid out graph is in, and how often bodies run.

use std::collections::{BTreeMap, HashMap};

use super::{DOMAIN, OWNER, SCOPE, mark};
use crate::onnx::graph::NodeIndex;
use crate::onnx::proto::{GraphProto, NodeProto};

/// The bodies of a laid out graph.
#[derive(Clone, Debug)]
pub struct Nesting<'m> {
    /// By node: its body.
    of_nodes: Vec<usize>,
    /// What is around comes before what is inside; the main graph is the first.
    bodies: Vec<Body<'m>>,
}

/// A body, or the main graph.
#[derive(Clone, Copy, Debug)]
struct Body<'m> {
    around: usize,
    runs: Runs<'m>,
}

/// How often a body runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs<'m> {
    Once,
    /// This branch or the other one of the same node, which has a number.
    Either {
        of: usize,
    },
    /// As often as this value is long.
    Turns {
        value: &'m str,
    },
}

/// Something that can be added up over nodes.
pub trait Quantity: Default {
    fn add(&mut self, other: Self);

    /// As often as a body runs.
    #[must_use]
    fn times(self, turns: u64) -> Self;

    /// Of two branches the one with more.
    #[must_use]
    fn larger(self, other: Self) -> Self;

    fn is_nothing(&self) -> bool;
}

impl<'m> Nesting<'m> {
    /// Reads the marks of a graph; all nodes of one that is not laid out are in the main graph.
    pub fn new(graph: &'m GraphProto) -> Self {
        let mut turns: HashMap<&str, &str> = HashMap::new();
        for node in
            graph.node.iter().filter(|node| node.operator_domain() == DOMAIN && node.op_type().ends_with("Begin"))
        {
            if let (Some(owner), Some(value)) = (mark(&node.metadata_props, OWNER), node.output.first()) {
                turns.insert(owner, value);
            }
        }
        let mut nesting = Self { of_nodes: Vec::new(), bodies: vec![Body { around: 0, runs: Runs::Once }] };
        let mut numbers: HashMap<&str, usize> = HashMap::from([("", 0)]);
        let scope = |node: &'m NodeProto| mark(&node.metadata_props, SCOPE).unwrap_or_default();
        nesting.of_nodes = graph.node.iter().map(|node| nesting.number(scope(node), &turns, &mut numbers)).collect();
        nesting
    }

    /// The number of a body, those around it first.
    fn number(
        &mut self,
        scope: &'m str,
        turns: &HashMap<&str, &'m str>,
        numbers: &mut HashMap<&'m str, usize>,
    ) -> usize {
        if let Some(number) = numbers.get(scope) {
            return *number;
        }
        let (around, own) = scope.rsplit_once('/').unwrap_or_default();
        let around = self.number(around, turns, numbers);
        let owner = own.split_once('.').unwrap_or_default().0;
        let runs = match (turns.get(owner), owner.parse()) {
            (Some(value), _) => Runs::Turns { value },
            (None, Ok(of)) => Runs::Either { of },
            (None, Err(_)) => Runs::Once,
        };
        self.bodies.push(Body { around, runs });
        numbers.insert(scope, self.bodies.len() - 1);
        self.bodies.len() - 1
    }

    /// Adds up a quantity of nodes: of two branches the larger counts, a body as often as it runs. `turns` gives the length
    /// of a value.
    ///
    /// Errors: that of `turns`, where the body counts for something.
    pub fn total<Q: Quantity, E>(
        &self,
        of_nodes: impl Iterator<Item = (NodeIndex, Q)>,
        turns: impl Fn(&str) -> Result<u64, E>,
    ) -> Result<Q, E> {
        let mut sums: Vec<Q> = self.bodies.iter().map(|_| Q::default()).collect();
        for (node, quantity) in of_nodes {
            sums[self.of_nodes[node]].add(quantity);
        }
        // By body: the larger branch so far of each node in it.
        let mut branches: Vec<BTreeMap<usize, Q>> = self.bodies.iter().map(|_| BTreeMap::new()).collect();
        for (number, body) in self.bodies.iter().enumerate().rev() {
            let mut sum = std::mem::take(&mut sums[number]);
            // What is inside has a higher number, so that it is complete.
            for branch in std::mem::take(&mut branches[number]).into_values() {
                sum.add(branch);
            }
            if number == 0 {
                sums[0] = sum;
                continue;
            }
            if sum.is_nothing() {
                continue;
            }
            match body.runs {
                Runs::Once => sums[body.around].add(sum),
                Runs::Turns { value } => sums[body.around].add(sum.times(turns(value)?)),
                Runs::Either { of } => {
                    let other = branches[body.around].remove(&of).unwrap_or_default();
                    branches[body.around].insert(of, other.larger(sum));
                }
            }
        }
        Ok(std::mem::take(&mut sums[0]))
    }
}
