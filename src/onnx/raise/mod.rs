//! A copy of a model in one operator set, so that whoever works on it meets each operator in one form only.
//!
//! Training uses such a copy; only weights flow back, and initializers keep their names. The steps are listed by the
//! version in which an operator changed ([`steps::STEPS`]); each rewrites a node into one or more that compute the same,
//! or refuses with the node and the reason. Artifacts keep their own operator set.

mod early;
mod steps;

use std::collections::HashMap;

use super::attribute::Attribute;
use super::model::Model;
use super::proto::{GraphProto, NodeProto};
use super::shape::{Inferred, infer};
use super::tensor::Tensor;
use crate::spec::failure::{Failure, FailureCode};

/// The operator set that training works in: reductions take their axes as inputs since this one.
pub const TRAINING_OPSET: i64 = 18;

/// A raised copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    pub model: Model,
    /// What was changed, a sentence for each kind of change.
    pub notes: Vec<String>,
}

/// Why a model cannot be raised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{node}` cannot be raised from operator set {from} to {to}: {reason}")]
pub struct RaiseError {
    pub node: String,
    pub from: i64,
    pub to: i64,
    pub reason: String,
}

impl From<RaiseError> for Failure {
    fn from(error: RaiseError) -> Self {
        Self::new(FailureCode::Unsupported, error.to_string()).at(error.node)
    }
}

/// Raises the default operator set to at least `opset`. A model that is there already is copied as it is, but that
/// initializers are no longer listed as inputs.
pub fn raise(model: &Model, opset: i64) -> Result<Raised, RaiseError> {
    let mut raised = model.clone();
    let mut notes = Vec::new();
    let from = model.opset("").unwrap_or(1);
    let graph = raised.graph_proto_mut();
    let initializers: std::collections::HashSet<String> =
        graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    let before = graph.input.len();
    graph.input.retain(|info| !initializers.contains(info.name()));
    if graph.input.len() < before {
        notes.push(format!("{} initializers are no longer listed as inputs", before - graph.input.len()));
    }
    // IR 4 is the first in which initializers need not be inputs, 8 goes with operator set 18.
    raised.proto.ir_version = Some(raised.proto.ir_version().max(8));
    if from < opset {
        let mut raising = Raising { inferred: infer(model), floats: HashMap::new(), fresh: 0, from: 0, to: 0 };
        for version in from + 1..=opset {
            (raising.from, raising.to) = (version - 1, version);
            raising.graph(raised.graph_proto_mut())?;
        }
        raised.graph_proto_mut().value_info.clear();
        for set in raised.proto.opset_import.iter_mut().filter(|set| matches!(set.domain(), "" | "ai.onnx")) {
            set.version = Some(opset);
        }
        notes.push(format!("raised from operator set {from} to {opset}"));
    }
    Ok(Raised { model: raised, notes })
}

/// What a step makes of a node.
type Rewritten = Result<Vec<NodeProto>, String>;

/// The state of raising by one version.
#[derive(Debug)]
struct Raising {
    inferred: Inferred,
    /// Floating-point constants that steps made.
    floats: HashMap<String, Vec<f32>>,
    fresh: usize,
    from: i64,
    to: i64,
}

impl Raising {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), RaiseError> {
        let mut nodes = Vec::with_capacity(graph.node.len());
        for mut node in std::mem::take(&mut graph.node) {
            for attribute in &mut node.attribute {
                for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                    self.graph(inner)?;
                }
            }
            let step = if node.operator_domain().is_empty() { steps::find(self.to, node.op_type()) } else { None };
            let Some(step) = step else {
                nodes.push(node);
                continue;
            };
            let label = node.label();
            let (from, to) = (self.from, self.to);
            nodes.extend(step(self, node).map_err(|reason| RaiseError { node: label, from, to, reason })?);
        }
        graph.node = nodes;
        Ok(())
    }

    /// A name that no value of the model has.
    fn name(&mut self, stem: &str) -> String {
        loop {
            self.fresh += 1;
            let name = format!("{stem}__raised_{}", self.fresh);
            if self.inferred.dims(&name).is_none() && self.inferred.dtype(&name).is_none() {
                return name;
            }
        }
    }

    /// A `Constant` node and the name of its value.
    fn constant(&mut self, stem: &str, tensor: &Tensor) -> (NodeProto, String) {
        let name = self.name(stem);
        if let Ok(floats) = tensor.to_f32() {
            self.floats.insert(name.clone(), floats.into_owned());
        }
        let mut node = node("Constant", &[], &[&name]);
        node.set_attribute("value", Attribute::Tensor(tensor.to_proto(&name)));
        (node, name)
    }

    /// A `Constant` node with a vector of integers.
    fn integers(&mut self, stem: &str, numbers: &[i64]) -> (NodeProto, String) {
        self.constant(stem, &Tensor::from_i64(&[numbers.len()], numbers))
    }

    /// A scalar of the element type of `like`.
    fn scalar_like(&mut self, stem: &str, value: f32, like: &str) -> Result<(NodeProto, String), String> {
        let dtype = self.inferred.dtype(like).ok_or_else(|| format!("the element type of `{like}` is unknown"))?;
        let frame = Tensor { dtype, shape: Vec::new(), data: bytes::Bytes::new() };
        let tensor = frame.with_f32(&[], &[value]).map_err(|error| error.to_string())?;
        Ok(self.constant(stem, &tensor))
    }
}

/// A node of the default domain.
fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        name: outputs.first().map(|name| (*name).to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..NodeProto::default()
    }
}

/// Takes an attribute out of a node.
fn take(node: &mut NodeProto, name: &str) -> Option<super::proto::AttributeProto> {
    let position = node.attribute.iter().position(|attribute| attribute.name() == name)?;
    Some(node.attribute.remove(position))
}

/// Puts a value into an input slot, leaving out those before that are not there.
fn set_input(node: &mut NodeProto, slot: usize, name: String) {
    if node.input.len() <= slot {
        node.input.resize(slot + 1, String::new());
    }
    node.input[slot] = name;
}
