//! Graphs inside of nodes, and functions of the model.
//!
//! The nodes of a body are made beside those around it, by the same blocks, and moved into their node when the model is built.

use std::collections::HashSet;
use std::ops::Range;

use super::maker::{Maker, Value};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::value_info;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TypeValue, ValueInfoProto,
};
use crate::onnx::tensor::Tensor;

pub const BLOCKS: Blocks = &[(2, branches), (2, turns), (2, steps), (2, called)];

/// The domain of functions.
pub const OWN: &str = "own";

/// A graph to be put into a node.
pub struct Body {
    /// The value that the node makes first.
    owner: String,
    attribute: &'static str,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    /// The values that its nodes make.
    inside: HashSet<String>,
}

/// A declaration that says nothing of sizes.
fn unsized_info(name: &str) -> ValueInfoProto {
    let mut info = value_info(name, DataType::Float, &[]);
    if let Some(TypeValue::Tensor(tensor)) = info.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
        tensor.shape = None;
    }
    info
}

impl Maker<'_> {
    fn made(&self, nodes: Range<usize>) -> HashSet<String> {
        self.b.nodes_made()[nodes].iter().flat_map(|node| node.output.clone()).collect()
    }

    fn here(&self) -> usize {
        self.b.nodes_made().len()
    }

    /// A node with graphs; outputs are named after it.
    fn holder(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<String> {
        self.b.nodes(op_type, inputs, attributes, outputs)
    }
}

/// Moves the nodes of bodies into the nodes that hold them, the inner ones first, with weights that nothing else reads.
pub fn fold(model: &mut Model, bodies: &[Body]) {
    let graph = model.graph_proto_mut();
    for body in bodies {
        let (inside, rest): (Vec<NodeProto>, Vec<NodeProto>) = std::mem::take(&mut graph.node)
            .into_iter()
            .partition(|node| node.output.iter().any(|name| body.inside.contains(name)));
        graph.node = rest;
        let read_outside = names_read(&graph.node);
        let read_inside = names_read(&inside);
        let (own, others) = std::mem::take(&mut graph.initializer)
            .into_iter()
            .partition(|tensor| read_inside.contains(tensor.name()) && !read_outside.contains(tensor.name()));
        graph.initializer = others;
        let proto = GraphProto {
            name: Some(body.attribute.to_owned()),
            node: inside,
            initializer: own,
            input: body.inputs.clone(),
            output: body.outputs.clone(),
            ..GraphProto::default()
        };
        let holder = graph.node.iter_mut().find(|node| node.output.first() == Some(&body.owner)).expect("the holder");
        holder.attribute.push(AttributeProto {
            name: Some(body.attribute.to_owned()),
            r#type: Some(5),
            g: Some(proto),
            ..AttributeProto::default()
        });
    }
}

fn names_read(nodes: &[NodeProto]) -> HashSet<String> {
    let mut read: HashSet<String> = nodes.iter().flat_map(|node| node.input.iter().cloned()).collect();
    for graph in nodes.iter().flat_map(NodeProto::subgraphs) {
        read.extend(names_read(&graph.node));
    }
    read
}

/// Whether the largest element of a value is above zero.
fn condition(m: &mut Maker<'_>, x: &str) -> String {
    let largest = m.node("ReduceMax", &[x], &[("keepdims", Attribute::Int(0))]);
    let bound = m.scalar(0.05);
    m.node("Greater", &[&largest, &bound], &[])
}

fn branches(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let condition = condition(m, &x.name);
    let out = m.width();
    let start = m.here();
    let yes = m.layer(x, out);
    let yes = m.node("Tanh", &[&yes.name], &[]);
    let middle = m.here();
    let no = m.layer(x, out);
    let no = m.node("Relu", &[&no.name], &[]);
    let end = m.here();
    let owner = m.holder("If", &[&condition], &[], 1).swap_remove(0);
    for (attribute, output, nodes) in [("then_branch", yes, start..middle), ("else_branch", no, middle..end)] {
        let inside = m.made(nodes);
        let outputs = vec![unsized_info(&output)];
        m.bodies.push(Body { owner: owner.clone(), attribute, inputs: Vec::new(), outputs, inside });
    }
    Some(x.with(owner, out))
}

/// A loop that carries a value of the same shape, and shows it at every turn now and then.
fn turns(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let count = m.b.constant(&Tensor::from_i64(&[], &[2]));
    let [turn, go_on, before] = ["turn", "go_on", "before"].map(|stem| m.b.fresh(stem));
    let start = m.here();
    let still = m.node("Identity", &[&go_on], &[]);
    let y = m.layer(&x.with(before.clone(), x.channels()), x.channels());
    let y = m.node("Add", &[&y.name, &x.name], &[]);
    let after = m.node("Tanh", &[&y], &[]);
    let seen = m.one_in(2).then(|| m.node("Sigmoid", &[&after], &[]));
    let inside = m.made(start..m.here());
    let outputs = m.holder("Loop", &[&count, "", &x.name], &[], 1 + usize::from(seen.is_some()));
    m.bodies.push(Body {
        owner: outputs[0].clone(),
        attribute: "body",
        inputs: vec![
            value_info(&turn, DataType::Int64, &[]),
            value_info(&go_on, DataType::Bool, &[]),
            unsized_info(&before),
        ],
        outputs: [value_info(&still, DataType::Bool, &[]), unsized_info(&after)]
            .into_iter()
            .chain(seen.as_deref().map(unsized_info))
            .collect(),
        inside,
    });
    let name = match outputs.get(1) {
        Some(all) => {
            let mean = m.reduce("ReduceMean", all, 0, false);
            m.node("Add", &[&outputs[0], &mean], &[])
        }
        None => outputs[0].clone(),
    };
    Some(x.with(name, x.channels()))
}

/// The declaration of a step's value; ONNX Runtime wants to know its rank.
fn state(name: &str) -> ValueInfoProto {
    value_info(name, DataType::Float, &["n".into(), format!("channels of {name}").as_str().into()])
}

/// A recurrent layer written as a scan over places.
fn steps(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let hidden = m.width();
    let mean = m.reduce("ReduceMean", &x.name, 1, false);
    let first = m.linear(&mean, channels, hidden);
    let by_time = m.transpose(&x.name, &[1, 0, 2]);
    let [before, slice] = ["before", "slice"].map(|stem| m.b.fresh(stem));
    let start = m.here();
    let from_input = m.linear(&slice, channels, hidden);
    let from_state = m.linear(&before, hidden, hidden);
    let sum = m.node("Add", &[&from_input, &from_state], &[]);
    let after = m.node("Tanh", &[&sum], &[]);
    let seen = m.node("Identity", &[&after], &[]);
    let inside = m.made(start..m.here());
    let outputs = m.holder("Scan", &[&first, &by_time], &[("num_scan_inputs", Attribute::Int(1))], 2);
    m.bodies.push(Body {
        owner: outputs[0].clone(),
        attribute: "body",
        inputs: [&before, &slice].map(|name| state(name)).to_vec(),
        outputs: [&after, &seen].map(|name| state(name)).to_vec(),
        inside,
    });
    Some(Value::sequence(m.transpose(&outputs[1], &[1, 0, 2]), length, hidden))
}

/// A call of a function of the model: a gate, or a layer of weights.
fn called(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    m.has_calls = true;
    let output = m.b.fresh("called");
    if x.as_image().is_some() || m.one_in(2) {
        m.b.raw_node(OWN, "Gate", &[&x.name], &[], std::slice::from_ref(&output));
        return Some(x.with(output, x.channels()));
    }
    let out = m.width();
    let (w, b) = (m.weight(&[x.channels(), out], x.channels()), m.draw(&[out], -0.2, 0.2));
    m.b.raw_node(OWN, "Layer", &[&x.name, &w, &b], &[], std::slice::from_ref(&output));
    Some(x.with(output, out))
}

/// What calls call.
pub fn functions(opset: i64) -> Vec<FunctionProto> {
    let node = |op_type: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let function = |name: &str, inputs: &[&str], nodes: Vec<NodeProto>| FunctionProto {
        name: Some(name.to_owned()),
        domain: Some(OWN.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec!["y".to_owned()],
        node: nodes,
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) }],
        ..FunctionProto::default()
    };
    vec![
        function("Gate", &["x"], vec![node("Sigmoid", &["x"], "s"), node("Mul", &["x", "s"], "y")]),
        function("Layer", &["x", "w", "b"], vec![node("MatMul", &["x", "w"], "t"), node("Add", &["t", "b"], "y")]),
    ]
}
