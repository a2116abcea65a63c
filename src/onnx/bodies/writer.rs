//! Writes nodes and the graphs inside of them into one list.

use std::collections::{HashMap, HashSet};

use prost::Message as _;

use super::place::{Constant, Place, Step};
use super::{CARRIED, DOMAIN, NAME, OWNER, SCOPE, body_of, marked};
use crate::onnx::attribute::{Attribute, AttributeType};
use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;
use crate::onnx::proto::{
    AttributeProto, GraphProto, NodeProto, StringStringEntryProto, TensorProto, TypeValue, ValueInfoProto,
};

/// A node whose graphs stay inside.
pub struct Stays;

/// New names of what had a name that was taken, in a graph and in those around it.
#[derive(Default)]
pub struct Names<'o> {
    own: HashMap<String, String>,
    around: Option<&'o Names<'o>>,
}

impl Names<'_> {
    /// For a graph inside: names of its own hide nothing, for what is renamed there had a name that was taken.
    fn inside(&self) -> Names<'_> {
        Names { own: HashMap::new(), around: Some(self) }
    }

    fn of(&self, name: &str) -> String {
        match (self.own.get(name), self.around) {
            (Some(new), _) => new.clone(),
            (None, Some(around)) => around.of(name),
            (None, None) => name.to_owned(),
        }
    }
}

/// Where is written: the mark of the body, empty outside of all, and the number of the graph in the model as it was.
#[derive(Clone, Copy)]
struct Inside<'s> {
    scope: &'s str,
    graph: usize,
}

/// What is written so far.
pub struct Writer {
    pub nodes: Vec<NodeProto>,
    /// Where each node comes from.
    pub places: Vec<Place>,
    pub initializers: Vec<TensorProto>,
    pub constants: HashMap<String, Constant>,
    pub graphs: Vec<Vec<Step>>,
    /// Nodes where loops end, with the place of the outermost node around them.
    pub ends: Vec<(NodeIndex, NodeIndex)>,
    /// Position in the main graph of the node that is laid out.
    place: NodeIndex,
    taken: HashSet<String>,
    /// By name: how many new names were tried, so that none is tried twice.
    tried: HashMap<String, usize>,
    owners: usize,
    opset: i64,
}

impl Writer {
    pub fn new(model: &Model) -> Self {
        let graph = model.graph_proto();
        let values = graph.node.iter().flat_map(|node| node.output.iter().cloned());
        let infos = graph.input.iter().chain(&graph.output).map(|info| info.name().to_owned());
        let initializers = graph.initializer.iter().map(|tensor| tensor.name().to_owned());
        let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        let taken = values.chain(infos).chain(initializers).chain(sparse.map(|tensor| tensor.name().to_owned()));
        Self {
            nodes: Vec::with_capacity(graph.node.len()),
            places: Vec::with_capacity(graph.node.len()),
            initializers: Vec::new(),
            constants: HashMap::new(),
            graphs: vec![Vec::new()],
            ends: Vec::new(),
            place: 0,
            taken: taken.collect(),
            tried: HashMap::new(),
            owners: 0,
            opset: model.opset("").unwrap_or(1),
        }
    }

    /// A node of the main graph as it is.
    pub fn keep(&mut self, node: &NodeProto, place: NodeIndex) {
        self.push(node.clone(), 0, place, node.label());
    }

    /// A node of the main graph with what is inside of it, where it goes in.
    pub fn lay_out(&mut self, node: &NodeProto, place: NodeIndex, taken: Option<bool>) -> Result<(), Stays> {
        self.place = place;
        let before = (self.nodes.len(), self.initializers.len());
        let done = if let Some(condition) = taken {
            self.branch(node, condition)
        } else {
            let main = Inside { scope: "", graph: 0 };
            self.node(node, place, node.output.clone(), &Names::default(), main)
        };
        if done.is_err() {
            self.nodes.truncate(before.0);
            self.places.truncate(before.0);
            self.initializers.truncate(before.1);
        }
        done
    }

    fn push(&mut self, node: NodeProto, graph: usize, place: NodeIndex, label: String) {
        self.nodes.push(node);
        self.places.push(Place { graph, node: place, label });
    }

    /// A name of its own for a value of a body.
    fn own(&mut self, name: &str, names: &mut Names<'_>) -> String {
        if name.is_empty() || self.taken.insert(name.to_owned()) {
            return name.to_owned();
        }
        let tried = self.tried.entry(name.to_owned()).or_default();
        let fresh = loop {
            *tried += 1;
            let fresh = format!("{name}_in{tried}");
            if self.taken.insert(fresh.clone()) {
                break fresh;
            }
        };
        names.own.insert(name.to_owned(), fresh.clone());
        fresh
    }

    /// The number of a graph inside of a node.
    fn graph_of(&mut self, around: usize, place: NodeIndex, node: &NodeProto, attribute: &str) -> usize {
        let step = Step { node: place, label: node.label(), attribute: attribute.to_owned() };
        let way = self.graphs[around].iter().cloned().chain([step]).collect();
        self.graphs.push(way);
        self.graphs.len() - 1
    }

    /// The nodes of the branch that is always taken, in the place of its node.
    fn branch(&mut self, node: &NodeProto, condition: bool) -> Result<(), Stays> {
        let attribute = if condition { "then_branch" } else { "else_branch" };
        let body = graph(node, attribute)?;
        let inside = Inside { scope: "", graph: self.graph_of(0, self.place, node, attribute) };
        let outputs = self.body(body, Names::default(), inside)?;
        for (within, outside) in outputs.iter().zip(&node.output).filter(|(_, outside)| !outside.is_empty()) {
            self.hand_on(within, outside, inside, body);
        }
        Ok(())
    }

    /// An output of a body under another name.
    fn hand_on(&mut self, from: &str, to: &str, inside: Inside<'_>, body: &GraphProto) {
        let node = NodeProto {
            op_type: Some("Identity".to_owned()),
            input: vec![from.to_owned()],
            output: vec![to.to_owned()],
            metadata_props: marks(inside, &[], &[]),
            ..NodeProto::default()
        };
        let label = node.label();
        self.push(node, inside.graph, body.node.len(), label);
    }

    /// The nodes of a body behind those that are there, and the names of its outputs.
    fn body(&mut self, graph: &GraphProto, mut names: Names<'_>, inside: Inside<'_>) -> Result<Vec<String>, Stays> {
        if !graph.sparse_initializer.is_empty() {
            return Err(Stays);
        }
        for tensor in &graph.initializer {
            let mut written = tensor.clone();
            let name = self.own(tensor.name(), &mut names);
            written.metadata_props.extend(marks(inside, &[tensor.name()], &[&name]));
            let constant = Constant { graph: inside.graph, name: tensor.name().to_owned() };
            self.constants.insert(name.clone(), constant);
            written.name = Some(name);
            self.initializers.push(written);
        }
        let mut made: HashSet<String> = HashSet::new();
        for (place, node) in graph.node.iter().enumerate() {
            let outputs: Vec<String> = node.output.iter().map(|name| self.own(name, &mut names)).collect();
            made.extend(outputs.iter().cloned());
            if node.is("Constant") {
                for (name, output) in node.output.iter().zip(&outputs) {
                    let constant = Constant { graph: inside.graph, name: name.clone() };
                    self.constants.insert(output.clone(), constant);
                }
            }
            self.node(node, place, outputs, &names, inside)?;
        }
        let mut outputs = Vec::with_capacity(graph.output.len());
        for info in &graph.output {
            let mut name = names.of(info.name());
            // Each output is the result of a node of the body, and of one output alone.
            if !made.remove(&name) {
                let copy = self.own(&format!("{name}_out"), &mut Names::default());
                self.hand_on(&name, &copy, inside, graph);
                name = copy;
            }
            outputs.push(name);
        }
        Ok(outputs)
    }

    fn node(
        &mut self,
        node: &NodeProto,
        place: NodeIndex,
        outputs: Vec<String>,
        names: &Names<'_>,
        inside: Inside<'_>,
    ) -> Result<(), Stays> {
        let mut written = node.clone();
        written.input = node.input.iter().map(|name| names.of(name)).collect();
        written.metadata_props.extend(marks(inside, &strs(&node.output), &strs(&outputs)));
        written.output = outputs;
        if node.subgraphs().next().is_none() {
            self.push(written, inside.graph, place, node.label());
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
                    let scope = body_of(inside.scope, &owner, attribute);
                    let within = Inside { scope: &scope, graph: self.graph_of(inside.graph, place, node, attribute) };
                    let outputs = self.body(graph(node, attribute)?, names.inside(), within)?;
                    if outputs.len() != node.output.len() {
                        return Err(Stays);
                    }
                    inputs.extend(outputs);
                }
                written.input = inputs;
            }
            "Loop" => self.turns(&mut written, (node, place), names, (inside, &owner), 2)?,
            "Scan" if self.opset >= 9 => self.turns(&mut written, (node, place), names, (inside, &owner), 0)?,
            _ => return Err(Stays),
        }
        self.push(written, inside.graph, place, node.label());
        Ok(())
    }

    /// The beginning and the body of a node that runs it several times; the node itself becomes the end.
    fn turns(
        &mut self,
        end: &mut NodeProto,
        (node, place): (&NodeProto, NodeIndex),
        names: &Names<'_>,
        (around, owner): (Inside<'_>, &str),
        before_carried: usize,
    ) -> Result<(), Stays> {
        let scanned = if node.is("Scan") { node.int("num_scan_inputs").unwrap_or(0) } else { 0 };
        let scanned = usize::try_from(scanned).map_err(|_| Stays)?;
        let carried = node.input.len().checked_sub(before_carried + scanned).ok_or(Stays)?;
        let body = graph(node, "body")?;
        if body.input.len() != node.input.len() || node.input[before_carried..].iter().any(String::is_empty) {
            return Err(Stays);
        }
        let scope = body_of(around.scope, owner, "body");
        let inside = Inside { scope: &scope, graph: self.graph_of(around.graph, place, node, "body") };
        let mut within = names.inside();
        let turns = self.own(&format!("turns_of_{owner}"), &mut Names::default());
        let inputs: Vec<String> = body.input.iter().map(|info| self.own(info.name(), &mut within)).collect();
        let mut begin = end.clone();
        begin.op_type = Some(format!("{}Begin", node.op_type()));
        let named: Vec<&str> = body.input.iter().map(ValueInfoProto::name).collect();
        begin.metadata_props.extend(renamed(&named, &strs(&inputs)));
        begin.output = [vec![turns.clone()], inputs.clone()].concat();
        for node in [&mut begin, &mut *end] {
            node.set_attribute(CARRIED, Attribute::Int(carried as i64));
        }
        self.push(begin, around.graph, place, node.label());
        let outputs = self.body(body, within, inside)?;
        let before = usize::from(node.is("Loop"));
        if outputs.len() != before + node.output.len() || node.output.len() < carried {
            return Err(Stays);
        }
        let state = inputs[before_carried..before_carried + carried].to_vec();
        end.input = [vec![turns], state, outputs].concat();
        // The caller puts it here.
        self.ends.push((self.nodes.len(), self.place));
        Ok(())
    }
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The marks of what is made in a body under new names; nothing outside of all bodies, where nothing is folded up.
fn marks(inside: Inside<'_>, names: &[&str], new: &[&str]) -> Vec<StringStringEntryProto> {
    if inside.scope.is_empty() {
        return Vec::new();
    }
    [vec![marked(SCOPE, inside.scope)], renamed(names, new)].concat()
}

fn renamed(names: &[&str], new: &[&str]) -> Vec<StringStringEntryProto> {
    let pairs = names.iter().zip(new).filter(|(name, new)| name != new);
    pairs.map(|(name, new)| marked(&format!("{NAME}{new}"), name)).collect()
}

fn graph<'n>(node: &'n NodeProto, attribute: &str) -> Result<&'n GraphProto, Stays> {
    node.find_attribute(attribute).and_then(|attribute| attribute.g.as_ref()).ok_or(Stays)
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
