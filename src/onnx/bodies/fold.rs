//! From one list of nodes back to graphs in nodes.

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message as _;

use super::{CARRIED, DOMAIN, OWNER, SCOPE, body_of, mark};
use crate::onnx::attribute::AttributeType;
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto};

/// The attributes that hold graphs.
const BODIES: [&str; 3] = ["then_branch", "else_branch", "body"];

/// The model with what was laid out back in its nodes. Any other model is given back as it is.
pub fn fold(model: &Model) -> Cow<'_, Model> {
    let graph = model.graph_proto();
    if graph.node.iter().all(|node| node.operator_domain() != DOMAIN) {
        return Cow::Borrowed(model);
    }
    let mut folder = Folder::default();
    for tensor in &graph.initializer {
        let scope = mark(&tensor.metadata_props, SCOPE).unwrap_or_default();
        folder.scopes.insert(tensor.name(), scope.to_owned());
        let mut tensor = tensor.clone();
        unmark(&mut tensor.metadata_props);
        folder.initializers.entry(scope.to_owned()).or_default().push(tensor);
    }
    for node in &graph.node {
        folder.take(node);
    }
    let mut folded = model.clone();
    let proto = folded.graph_proto_mut();
    proto.initializer = folder.initializers.remove("").unwrap_or_default();
    proto.node = folder.nodes("");
    Cow::Owned(folded)
}

#[derive(Default)]
struct Folder<'m> {
    /// The body that a value is made in.
    scopes: HashMap<&'m str, String>,
    nodes: HashMap<String, Vec<&'m NodeProto>>,
    initializers: HashMap<String, Vec<TensorProto>>,
    /// The nodes where bodies begin, by owner.
    begins: HashMap<&'m str, &'m NodeProto>,
}

impl<'m> Folder<'m> {
    /// Finds the body that a node is in: the one it is marked with, or the innermost of what it reads.
    fn take(&mut self, node: &'m NodeProto) {
        let scope = mark(&node.metadata_props, SCOPE).map(str::to_owned).or_else(|| {
            let read = node.input.iter().filter_map(|name| self.scopes.get(name.as_str()));
            read.max_by_key(|scope| scope.matches('/').count()).cloned()
        });
        let scope = if is_end(node) {
            mark(&node.metadata_props, SCOPE).unwrap_or_default().to_owned()
        } else {
            scope.unwrap_or_default()
        };
        let inside = if let Some(owner) = begins(node) {
            self.begins.insert(owner, node);
            body_of(&scope, owner, "body")
        } else {
            self.nodes.entry(scope.clone()).or_default().push(node);
            scope
        };
        self.scopes.extend(node.output.iter().map(|name| (name.as_str(), inside.clone())));
    }

    /// The nodes of a body, their own bodies inside of them.
    fn nodes(&mut self, scope: &str) -> Vec<NodeProto> {
        let nodes = self.nodes.remove(scope).unwrap_or_default();
        nodes.into_iter().map(|node| if is_end(node) { self.owner(node, scope) } else { plain(node) }).collect()
    }

    fn owner(&mut self, end: &NodeProto, scope: &str) -> NodeProto {
        let owner = mark(&end.metadata_props, OWNER).unwrap_or_default();
        let begin = self.begins.get(owner).copied();
        let mut node = plain(end);
        node.domain = None;
        node.attribute.retain(|attribute| attribute.name() != CARRIED);
        let (inputs, outputs) = if let Some(begin) = begin {
            node.input.clone_from(&begin.input);
            let carried = end.int(CARRIED).unwrap_or(0) as usize;
            (begin.output[1..].to_vec(), vec![&end.input[1 + carried..]])
        } else {
            node.input.truncate(1);
            (Vec::new(), end.input[1..].chunks(end.output.len().max(1)).collect())
        };
        let bodies = BODIES.iter().filter(|body| end.find_attribute(body).is_some());
        for (attribute, outputs) in bodies.zip(outputs) {
            let body = body_of(scope, owner, attribute);
            let Some(slot) = node.attribute.iter_mut().find(|found| found.name() == *attribute) else { continue };
            let mut graph = GraphProto::decode(slot.s.take().unwrap_or_default()).unwrap_or_default();
            graph.node = self.nodes(&body);
            graph.initializer = self.initializers.remove(&body).unwrap_or_default();
            rename(&mut graph.input, &inputs);
            rename(&mut graph.output, outputs);
            self.copy_what_comes_from_outside(&mut graph, &body);
            slot.r#type = Some(AttributeType::Graph as i32);
            slot.g = Some(graph);
        }
        node
    }

    /// A body's outputs are made in it.
    fn copy_what_comes_from_outside(&self, graph: &mut GraphProto, body: &str) {
        for info in &mut graph.output {
            let name = info.name().to_owned();
            if self.scopes.get(name.as_str()).is_none_or(|scope| scope != body) {
                let copy = format!("{name}_inside_{}", graph.node.len());
                graph.node.push(NodeProto {
                    op_type: Some("Identity".to_owned()),
                    input: vec![name],
                    output: vec![copy.clone()],
                    ..NodeProto::default()
                });
                info.name = Some(copy);
            }
        }
    }
}

fn rename(infos: &mut [ValueInfoProto], names: &[String]) {
    for (info, name) in infos.iter_mut().zip(names) {
        info.name = Some(name.clone());
    }
}

fn is_end(node: &NodeProto) -> bool {
    node.operator_domain() == DOMAIN && !node.op_type().ends_with("Begin")
}

/// The owner of the body that begins here.
fn begins(node: &NodeProto) -> Option<&str> {
    let begins = node.operator_domain() == DOMAIN && node.op_type().ends_with("Begin");
    if begins { mark(&node.metadata_props, OWNER) } else { None }
}

fn plain(node: &NodeProto) -> NodeProto {
    let mut node = node.clone();
    unmark(&mut node.metadata_props);
    node
}

fn unmark(props: &mut Vec<StringStringEntryProto>) {
    props.retain(|prop| !matches!(prop.key.as_deref(), Some(SCOPE | OWNER)));
}
