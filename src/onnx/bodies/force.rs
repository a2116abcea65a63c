//! Models whose bodies run whatever the input is: conditions and computed numbers of turns are set.

use super::{DOMAIN, SCOPE, mark};
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::tensor::Tensor;

/// Turns of a loop whose number of turns is computed: enough for what is carried to come back.
const TURNS: i64 = 2;

const NAMES: [&str; 3] = ["secateur.forced.false", "secateur.forced.true", "secateur.forced.turns"];

/// Nested branches up to this depth are told apart; deeper ones go with those around them.
const DEEPEST: u32 = 3;

/// How the conditions of a laid out model are set: those of branches that lie in as many others by the same bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    bits: u32,
    depth: u32,
}

impl Ways {
    /// Enough of them that each branch runs in one; none for a model in which no condition and no number of turns is computed.
    pub fn all(model: &Model) -> Vec<Self> {
        let graph = model.graph_proto();
        let of_branches = graph.node.iter().filter(|node| is(node, "If")).map(|node| branches_around(node) + 1);
        let deepest = of_branches.max().unwrap_or(0).min(DEEPEST);
        let loops = graph.node.iter().any(|node| is(node, "LoopBegin") && is_open(graph, node));
        match (deepest, loops) {
            (0, false) => Vec::new(),
            (depth, _) => (0..1 << depth).map(|bits| Self { bits, depth }).collect(),
        }
    }

    /// What is set, for people: `conditions true`, or with several levels `conditions true, false` from the outermost in.
    pub fn label(self) -> String {
        if self.depth == 0 {
            return "every loop run".to_owned();
        }
        let levels = (0..self.depth).map(|level| if self.bits >> level & 1 == 1 { "true" } else { "false" });
        format!("conditions {}", levels.collect::<Vec<_>>().join(", "))
    }

    /// The model so.
    pub fn set(self, model: &Model) -> Model {
        let mut model = model.clone();
        let open: Vec<bool> = {
            let graph = model.graph_proto();
            graph.node.iter().map(|node| is(node, "LoopBegin") && is_open(graph, node)).collect()
        };
        let graph = model.graph_proto_mut();
        for (node, open) in graph.node.iter_mut().zip(open) {
            if is(node, "If") {
                let level = branches_around(node).min(DEEPEST - 1);
                NAMES[(self.bits >> level & 1) as usize].clone_into(&mut node.input[0]);
            } else if open {
                NAMES[2].clone_into(&mut node.input[0]);
                if let Some(condition) = node.input.get_mut(1) {
                    condition.clear();
                }
            }
        }
        let constant = |value: u8| Tensor { dtype: DataType::Bool, shape: Vec::new(), data: vec![value].into() };
        let constants = [constant(0), constant(1), Tensor::from_i64(&[], &[TURNS])];
        graph.initializer.extend(constants.iter().zip(NAMES).map(|(tensor, name)| tensor.to_proto(name)));
        model
    }
}

fn is(node: &NodeProto, op_type: &str) -> bool {
    node.operator_domain() == DOMAIN && node.op_type() == op_type
}

/// How many branches of others a node is in.
fn branches_around(node: &NodeProto) -> u32 {
    mark(&node.metadata_props, SCOPE).map_or(0, |scope| scope.matches("_branch").count() as u32)
}

/// Whether how often a loop runs depends on what is computed.
fn is_open(graph: &GraphProto, node: &NodeProto) -> bool {
    let is_computed = |name: &String| {
        let producer = graph.node.iter().find(|node| node.output.contains(name));
        !name.is_empty()
            && (producer.is_some_and(|node| !node.is("Constant")) || graph.input.iter().any(|info| info.name() == name))
    };
    node.input.iter().take(2).any(is_computed)
}
