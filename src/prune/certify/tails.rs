//! Where to compare two models: at their outputs, and before the operators at the end that hide differences or blow them
//! up.
//!
//! A softmax that is sure of itself gives the same for many inputs, and the position of a maximum jumps between two values
//! that are almost equal. So the values that go into such operators are made outputs as well, as far back as the last
//! sum of products. Outputs that positions or comparisons have touched are not compared by their values at all: what goes
//! into the first such operator is, and everything else that is mixed with what comes out.

use std::collections::HashSet;

use crate::onnx::bodies;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorType, TypeProto, TypeValue, ValueInfoProto};
use crate::onnx::shape::Inferred;

/// Operators that press their input into a bounded range.
const SATURATING: [&str; 12] = [
    "Clip",
    "Erf",
    "HardSigmoid",
    "HardSwish",
    "LogSoftmax",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "ThresholdedRelu",
];

/// Standard operators that sum products.
const SUMMING: [&str; 8] =
    ["Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "QLinearConv", "QLinearMatMul"];

/// Operators whose result jumps.
const JUMPING: [&str; 19] = [
    "ArgMax",
    "ArgMin",
    "Ceil",
    "Equal",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Hardmax",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonMaxSuppression",
    "NonZero",
    "QuantizeLinear",
    "Round",
    "Sign",
    "TopK",
    "Unique",
];

/// What is compared.
#[derive(Debug, Default)]
pub struct Tails {
    /// Values to make outputs, in the order of the graph.
    observed: Vec<ValueInfoProto>,
    /// Outputs whose values say nothing when they differ.
    jumping: HashSet<String>,
}

impl Tails {
    /// Looks at the end of a graph. `may` says of a value whether both models have all of it; `given` of one that jumps
    /// whether what comes behind it starts from the same numbers in both.
    pub fn new(
        graph: &Graph<'_>,
        inferred: &Inferred,
        may: &dyn Fn(&str) -> bool,
        given: &dyn Fn(&str) -> bool,
    ) -> Self {
        let nodes = last_nodes(graph);
        let mut jumping: HashSet<&str> = HashSet::new();
        let mut tails = Self::default();
        for index in nodes {
            let node = graph.node(index);
            let inputs = node.input.iter().map(String::as_str);
            let given = node.output.iter().all(|name| given(name));
            let touched = !given && (is_one_of(node, &JUMPING) || inputs.clone().any(|name| jumping.contains(name)));
            if touched {
                jumping.extend(node.output.iter().map(String::as_str));
            }
            if !touched && !is_one_of(node, &SATURATING) {
                continue;
            }
            for name in inputs.filter(|name| !jumping.contains(name)) {
                let Some(dtype) = inferred.dtype(name).filter(|dtype| dtype.is_float()) else { continue };
                let is_outside = |node: &NodeProto| !node.is("Constant") && !bodies::is_inside(node);
                let computed = graph.producer(name).is_some_and(|(node, _)| is_outside(graph.node(node)));
                let seen = graph.is_output(name) || tails.observed.iter().any(|info| info.name() == name);
                if computed && !seen && may(name) {
                    tails.observed.push(declaration(name, dtype.number()));
                }
            }
        }
        let outputs = graph.proto.output.iter().map(ValueInfoProto::name);
        tails.jumping = outputs.filter(|name| jumping.contains(name)).map(str::to_owned).collect();
        tails
    }

    /// The model with the observed values as further outputs.
    pub fn observe(&self, model: &Model) -> Model {
        let mut model = model.clone();
        model.graph_proto_mut().output.extend(self.observed.iter().cloned());
        model
    }

    /// Whether the values of an output are compared, not only their shape.
    pub fn compares(&self, output: &str) -> bool {
        !self.jumping.contains(output)
    }
}

/// An output of a type, of any shape.
pub(super) fn declaration(name: &str, elem_type: i32) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorType { elem_type: Some(elem_type), shape: None })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// Whether what a node gives jumps where what it reads moves a little. Comparisons of shapes and positions are exact.
pub(super) fn jumps(node: &NodeProto, inferred: &Inferred) -> bool {
    let reads_floats = || node.input.iter().any(|name| inferred.dtype(name).is_some_and(DataType::is_float));
    is_one_of(node, &JUMPING) && reads_floats()
}

fn is_one_of(node: &NodeProto, operators: &[&str]) -> bool {
    node.operator_domain().is_empty() && operators.contains(&node.op_type())
}

/// Whether a node sums products. Sums of quantized numbers are exact, and so is what they are rounded to: two models that
/// read the same numbers there give the same.
fn is_sum(node: &NodeProto) -> bool {
    match node.operator_domain() {
        "" => SUMMING.contains(&node.op_type()),
        "com.microsoft" => matches!(node.op_type(), "FusedConv" | "FusedGemm" | "FusedMatMul" | "QGemm"),
        _ => false,
    }
}

/// The nodes between the last sums of products and the outputs, in the order of the graph.
fn last_nodes(graph: &Graph<'_>) -> Vec<NodeIndex> {
    let mut found = HashSet::new();
    let mut pending: Vec<&str> = graph.proto.output.iter().map(ValueInfoProto::name).collect();
    while let Some(name) = pending.pop() {
        let Some((index, _)) = graph.producer(name) else { continue };
        let node = graph.node(index);
        if !is_sum(node) && found.insert(index) {
            pending.extend(node.input.iter().map(String::as_str));
        }
    }
    let mut nodes: Vec<NodeIndex> = found.into_iter().collect();
    nodes.sort_unstable();
    nodes
}
