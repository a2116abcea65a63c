//! From graphs in nodes to one list of nodes.

use std::collections::{HashMap, HashSet};

use prost::Message as _;

use super::{CARRIED, DOMAIN, OWNER, SCOPE, body_of, marked};
use crate::onnx::attribute::{Attribute, AttributeType};
use crate::onnx::model::Model;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, TypeValue, ValueInfoProto};
use crate::onnx::shape::{Inferred, ShapeValue, infer};

/// A node whose graphs stay inside.
struct Stays;

/// New names of what had a name that was taken.
type Names = HashMap<String, String>;

/// The model with the graphs of its nodes laid out; `None` where none can be. A branch that is always taken takes the place
/// of its node. What stays as it is: a loop that carries a value whose size changes from turn to turn, bodies with shapes that
/// are not known, branches of different ranks among them, operators that are not known here, and whatever holds such a node.
pub fn lay_out(model: &Model) -> Option<Model> {
    let graph = model.graph_proto();
    let has_bodies = |node: &NodeProto| node.subgraphs().next().is_some();
    let mut staying: HashSet<usize> = HashSet::new();
    let mut known: Option<Inferred> = None;
    loop {
        if graph.node.iter().enumerate().all(|(index, node)| !has_bodies(node) || staying.contains(&index)) {
            return None;
        }
        let known = known.get_or_insert_with(|| infer(model));
        let mut writer = Writer::new(model);
        let mut ranges = Vec::new();
        for (index, node) in graph.node.iter().enumerate() {
            if !has_bodies(node) || staying.contains(&index) {
                writer.nodes.push(node.clone());
                continue;
            }
            writer.place = index;
            let before = (writer.nodes.len(), writer.initializers.len());
            let taken = known.value(node.input_name(0).unwrap_or_default()).and_then(ShapeValue::known);
            let laid_out = match taken.as_deref() {
                Some([condition]) if node.is("If") => writer.branch(node, *condition != 0),
                _ => writer.node(node, node.output.clone(), &Names::new(), ""),
            };
            if laid_out.is_err() {
                staying.insert(index);
                writer.nodes.truncate(before.0);
                writer.initializers.truncate(before.1);
                writer.nodes.push(node.clone());
            } else {
                ranges.push((before.0..writer.nodes.len(), index));
            }
        }
        let mut laid_out = model.clone();
        let (nodes, initializers, ends) = (writer.nodes, writer.initializers, writer.ends);
        let proto = laid_out.graph_proto_mut();
        proto.node = nodes;
        proto.initializer.extend(initializers);
        let inferred = infer(&laid_out);
        let unsteady: Vec<usize> = ends
            .into_iter()
            .filter(|(end, place)| {
                let end = laid_out.graph_proto().node.iter().find(|node| node.output == *end);
                !staying.contains(place) && end.is_some_and(|end| !is_steady(end, &inferred))
            })
            .map(|(_, place)| place)
            .chain(ranges.into_iter().filter(|(range, _)| has_unknown(&inferred, range)).map(|(_, place)| place))
            .collect();
        if unsteady.is_empty() {
            return Some(laid_out);
        }
        staying.extend(unsteady);
    }
}

/// Whether a node of a range makes something whose shape is not known.
fn has_unknown(inferred: &Inferred, range: &std::ops::Range<usize>) -> bool {
    inferred.unknown().iter().any(|unknown| range.contains(&unknown.node))
}

/// Whether what a loop carries has one shape at every turn.
fn is_steady(end: &NodeProto, inferred: &Inferred) -> bool {
    let carried = end.int(CARRIED).unwrap_or(0) as usize;
    let first = 1 + carried + usize::from(end.op_type() == "Loop");
    (0..carried).all(|at| {
        let (before, after) = (end.input_name(1 + at), end.input_name(first + at));
        let dims = |name: Option<&str>| name.and_then(|name| inferred.dims(name));
        dims(before).is_some() && dims(before) == dims(after)
    })
}

struct Writer {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    taken: HashSet<String>,
    owners: usize,
    opset: i64,
    /// Position in the main graph of the node that is laid out.
    place: usize,
    /// Outputs of the nodes where loops end, with the place of the outermost node around them.
    ends: Vec<(Vec<String>, usize)>,
}

impl Writer {
    fn new(model: &Model) -> Self {
        let graph = model.graph_proto();
        let values = graph.node.iter().flat_map(|node| node.output.iter().cloned());
        let infos = graph.input.iter().chain(&graph.output).map(|info| info.name().to_owned());
        let initializers = graph.initializer.iter().map(|tensor| tensor.name().to_owned());
        let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        let taken = values.chain(infos).chain(initializers).chain(sparse.map(|tensor| tensor.name().to_owned()));
        Self {
            nodes: Vec::with_capacity(graph.node.len()),
            initializers: Vec::new(),
            taken: taken.collect(),
            owners: 0,
            opset: model.opset("").unwrap_or(1),
            place: 0,
            ends: Vec::new(),
        }
    }

    /// A name of its own for a value of a body.
    fn own(&mut self, name: &str, names: &mut Names) -> String {
        if name.is_empty() || self.taken.insert(name.to_owned()) {
            return name.to_owned();
        }
        let fresh =
            (1..=usize::MAX).map(|count| format!("{name}_in{count}")).find(|name| self.taken.insert(name.clone()));
        let fresh = fresh.unwrap_or_default();
        names.insert(name.to_owned(), fresh.clone());
        fresh
    }

    /// The nodes of the branch that is always taken, in the place of its node.
    fn branch(&mut self, node: &NodeProto, condition: bool) -> Result<(), Stays> {
        let graph = graph(node, if condition { "then_branch" } else { "else_branch" })?;
        let outputs = self.body(graph, Names::new(), "")?;
        for (inside, outside) in outputs.iter().zip(&node.output).filter(|(_, outside)| !outside.is_empty()) {
            self.nodes.push(identity(inside, outside, ""));
        }
        Ok(())
    }

    /// The nodes of a body behind those that are there, and the names of its outputs.
    fn body(&mut self, graph: &GraphProto, mut names: Names, scope: &str) -> Result<Vec<String>, Stays> {
        if !graph.sparse_initializer.is_empty() {
            return Err(Stays);
        }
        for tensor in &graph.initializer {
            let mut tensor = tensor.clone();
            tensor.name = Some(self.own(tensor.name(), &mut names));
            if !scope.is_empty() {
                tensor.metadata_props.push(marked(SCOPE, scope));
            }
            self.initializers.push(tensor);
        }
        let mut made: HashSet<String> = HashSet::new();
        for node in &graph.node {
            let outputs: Vec<String> = node.output.iter().map(|name| self.own(name, &mut names)).collect();
            made.extend(outputs.iter().cloned());
            self.node(node, outputs, &names, scope)?;
        }
        let mut outputs = Vec::with_capacity(graph.output.len());
        for info in &graph.output {
            let mut name = named(info.name(), &names);
            // Each output is the result of a node of the body, and of one output alone.
            if !made.remove(&name) {
                let copy = self.own(&format!("{name}_out"), &mut Names::new());
                self.nodes.push(identity(&name, &copy, scope));
                name = copy;
            }
            outputs.push(name);
        }
        Ok(outputs)
    }

    fn node(&mut self, node: &NodeProto, outputs: Vec<String>, names: &Names, scope: &str) -> Result<(), Stays> {
        let mut written = node.clone();
        written.input = node.input.iter().map(|name| named(name, names)).collect();
        written.output = outputs;
        if !scope.is_empty() {
            written.metadata_props.push(marked(SCOPE, scope));
        }
        if node.subgraphs().next().is_none() {
            self.nodes.push(written);
            return Ok(());
        }
        let owner = self.owners.to_string();
        self.owners += 1;
        written.domain = Some(DOMAIN.to_owned());
        written.metadata_props.push(marked(OWNER, &owner));
        written.attribute = node.attribute.iter().map(without_nodes).collect();
        if !node.operator_domain().is_empty() {
            return Err(Stays);
        }
        match node.op_type() {
            "If" => {
                let mut inputs = vec![written.input.first().ok_or(Stays)?.clone()];
                for attribute in ["then_branch", "else_branch"] {
                    let outputs =
                        self.body(graph(node, attribute)?, names.clone(), &body_of(scope, &owner, attribute))?;
                    if outputs.len() != node.output.len() {
                        return Err(Stays);
                    }
                    inputs.extend(outputs);
                }
                written.input = inputs;
            }
            "Loop" => self.turns(&mut written, node, graph(node, "body")?, names, (scope, &owner), 2)?,
            "Scan" if self.opset >= 9 => {
                let scanned = usize::try_from(node.int("num_scan_inputs").unwrap_or(0)).map_err(|_| Stays)?;
                node.input.len().checked_sub(scanned).ok_or(Stays)?;
                self.turns(&mut written, node, graph(node, "body")?, names, (scope, &owner), 0)?;
            }
            _ => return Err(Stays),
        }
        self.nodes.push(written);
        Ok(())
    }

    /// The beginning and the body of a node that runs it several times; the node itself becomes the end.
    fn turns(
        &mut self,
        end: &mut NodeProto,
        node: &NodeProto,
        body: &GraphProto,
        names: &Names,
        (scope, owner): (&str, &str),
        before_carried: usize,
    ) -> Result<(), Stays> {
        let scanned = if node.is("Scan") { node.int("num_scan_inputs").unwrap_or(0) as usize } else { 0 };
        let carried = node.input.len().checked_sub(before_carried + scanned).ok_or(Stays)?;
        if body.input.len() != node.input.len() || node.input[before_carried..].iter().any(String::is_empty) {
            return Err(Stays);
        }
        let mut inside = names.clone();
        let turns = self.own(&format!("turns_of_{owner}"), &mut Names::new());
        let inputs: Vec<String> = body.input.iter().map(|info| self.own(info.name(), &mut inside)).collect();
        let mut begin = end.clone();
        begin.op_type = Some(format!("{}Begin", node.op_type()));
        begin.output = [vec![turns.clone()], inputs.clone()].concat();
        for node in [&mut begin, &mut *end] {
            node.set_attribute(CARRIED, Attribute::Int(carried as i64));
        }
        self.nodes.push(begin);
        let outputs = self.body(body, inside, &body_of(scope, owner, "body"))?;
        let before = usize::from(node.is("Loop"));
        if outputs.len() != before + node.output.len() || node.output.len() < carried {
            return Err(Stays);
        }
        let state = inputs[before_carried..before_carried + carried].to_vec();
        end.input = [vec![turns], state, outputs].concat();
        self.ends.push((end.output.clone(), self.place));
        Ok(())
    }
}

fn named(name: &str, names: &Names) -> String {
    names.get(name).cloned().unwrap_or_else(|| name.to_owned())
}

fn graph<'n>(node: &'n NodeProto, attribute: &str) -> Result<&'n GraphProto, Stays> {
    node.find_attribute(attribute).and_then(|attribute| attribute.g.as_ref()).ok_or(Stays)
}

fn identity(input: &str, output: &str, scope: &str) -> NodeProto {
    let metadata_props = if scope.is_empty() { Vec::new() } else { vec![marked(SCOPE, scope)] };
    NodeProto {
        op_type: Some("Identity".to_owned()),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        metadata_props,
        ..NodeProto::default()
    }
}

/// A graph as bytes that nobody looks into, without what is laid out. Sizes that it declares may change.
fn without_nodes(attribute: &AttributeProto) -> AttributeProto {
    let Some(graph) = &attribute.g else { return attribute.clone() };
    let unsized_info = |info: &ValueInfoProto| {
        let mut info = info.clone();
        if let Some(TypeValue::Tensor(tensor)) = info.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
            // A scalar stays one, and runtimes want to be told of those that a loop hands in.
            tensor.shape = tensor.shape.take().filter(|shape| shape.dim.is_empty());
        }
        info
    };
    let frame = GraphProto {
        node: Vec::new(),
        initializer: Vec::new(),
        value_info: Vec::new(),
        input: graph.input.iter().map(unsized_info).collect(),
        output: graph.output.iter().map(unsized_info).collect(),
        ..graph.clone()
    };
    AttributeProto {
        name: attribute.name.clone(),
        r#type: Some(AttributeType::String as i32),
        s: Some(frame.encode_to_vec().into()),
        ..AttributeProto::default()
    }
}
