//! From one list of nodes back to graphs in nodes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use prost::Message as _;

use super::{CARRIED, DOMAIN, NAME, OWNER, SCOPE, body_of, carried, is_mark, mark};
use crate::onnx::attribute::AttributeType;
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto};

/// The attributes that hold graphs.
const BODIES: [&str; 3] = ["then_branch", "else_branch", "body"];

/// A model that runs, with what became of the names in the laid out one.
#[derive(Clone, Debug)]
pub struct Folded {
    pub model: Model,
    names: HashMap<String, String>,
    inside: HashSet<String>,
}

impl Folded {
    /// What a value of the laid out model is called now.
    pub fn name<'n>(&'n self, name: &'n str) -> &'n str {
        self.names.get(name).map_or(name, String::as_str)
    }

    /// Whether a value of the laid out model is in the main graph now.
    pub fn is_outside(&self, name: &str) -> bool {
        !self.inside.contains(name)
    }
}

/// The model with what was laid out back in its nodes. Any other model is given back as it is.
pub fn fold(model: &Model) -> Cow<'_, Model> {
    if is_flat(model) { Cow::Borrowed(model) } else { Cow::Owned(folded(model).model) }
}

fn is_flat(model: &Model) -> bool {
    model.graph_proto().node.iter().all(|node| node.operator_domain() != DOMAIN)
}

/// The same, and what became of the names.
pub fn folded(model: &Model) -> Folded {
    let mut folder = Folder::default();
    let mut folded = model.clone();
    if is_flat(model) {
        return Folded { model: folded, names: HashMap::new(), inside: HashSet::new() };
    }
    let graph = model.graph_proto();
    for tensor in &graph.initializer {
        let scope = mark(&tensor.metadata_props, SCOPE).unwrap_or_default();
        folder.scopes.insert(tensor.name(), scope.to_owned());
        folder.remember(&tensor.metadata_props);
    }
    for node in &graph.node {
        folder.take(node);
        folder.remember(&node.metadata_props);
    }
    folder.restore(graph.input.iter().map(ValueInfoProto::name));
    for tensor in &graph.initializer {
        let scope = folder.scopes.get(tensor.name()).cloned().unwrap_or_default();
        let mut tensor = tensor.clone();
        unmark(&mut tensor.metadata_props);
        folder.name(tensor.name.get_or_insert_default());
        folder.initializers.entry(scope).or_default().push(tensor);
    }
    let proto = folded.graph_proto_mut();
    proto.initializer = folder.initializers.remove("").unwrap_or_default();
    proto.node = folder.nodes("");
    let owned = |(name, old): (&&str, &&str)| ((*name).to_owned(), (*old).to_owned());
    let names = folder.restored.iter().map(owned).collect();
    let inside = folder.scopes.iter().filter(|(_, scope)| !scope.is_empty()).map(|(name, _)| (*name).to_owned());
    Folded { model: folded, names, inside: inside.collect() }
}

#[derive(Default)]
struct Folder<'m> {
    /// The body that a value is made in.
    scopes: HashMap<&'m str, String>,
    nodes: HashMap<String, Vec<&'m NodeProto>>,
    initializers: HashMap<String, Vec<TensorProto>>,
    /// The nodes where bodies begin, by owner.
    begins: HashMap<&'m str, &'m NodeProto>,
    /// Names that values had, and those of them that they get back.
    renamed: HashMap<&'m str, &'m str>,
    restored: HashMap<&'m str, &'m str>,
}

impl<'m> Folder<'m> {
    fn remember(&mut self, marks: &'m [StringStringEntryProto]) {
        let renamed =
            marks.iter().filter_map(|mark| Some((mark.key.as_deref()?.strip_prefix(NAME)?, mark.value.as_deref()?)));
        self.renamed.extend(renamed);
    }

    /// Gives values of bodies the names back that they had, from the outside in, but for those that a graph around them has
    /// taken: a branch that took the place of its node has its values there.
    fn restore(&mut self, inputs: impl Iterator<Item = &'m str>) {
        let mut made: HashSet<(&str, &str)> = self
            .scopes
            .iter()
            .map(|(name, scope)| (scope.as_str(), *name))
            .chain(inputs.map(|name| ("", name)))
            .collect();
        let mut renamed: Vec<(&str, &str, &str)> = (self.renamed.iter())
            .filter_map(|(name, old)| Some((self.scopes.get(name)?.as_str(), *name, *old)))
            .collect();
        renamed.sort_unstable_by_key(|(scope, name, _)| (scope.matches('/').count(), *name));
        for (scope, name, old) in renamed {
            if around(scope).all(|scope| !made.contains(&(scope, old))) {
                made.remove(&(scope, name));
                made.insert((scope, old));
                self.restored.insert(name, old);
            }
        }
    }

    fn name(&self, name: &mut String) {
        if let Some(old) = self.restored.get(name.as_str()) {
            (*old).clone_into(name);
        }
    }

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
        let mut written = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut node = if is_end(node) { self.owner(node, scope) } else { plain(node) };
            node.input.iter_mut().chain(&mut node.output).for_each(|name| self.name(name));
            written.push(node);
        }
        written
    }

    fn owner(&mut self, end: &NodeProto, scope: &str) -> NodeProto {
        let owner = mark(&end.metadata_props, OWNER).unwrap_or_default();
        let begin = self.begins.get(owner).copied();
        let mut node = plain(end);
        node.domain = None;
        node.attribute.retain(|attribute| attribute.name() != CARRIED);
        let (inputs, outputs) = if let Some(begin) = begin {
            node.input.clone_from(&begin.input);
            (begin.output[1..].to_vec(), vec![&end.input[1 + carried(end)..]])
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
            for info in graph.input.iter_mut().chain(&mut graph.output) {
                self.name(info.name.get_or_insert_default());
            }
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
                    input: vec![self.restored.get(name.as_str()).map_or(name.clone(), |old| (*old).to_owned())],
                    output: vec![copy.clone()],
                    ..NodeProto::default()
                });
                info.name = Some(copy);
            }
        }
    }
}

/// A body and those around it, the main graph last.
fn around(scope: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(scope), |scope| scope.rfind('/').map(|at| &scope[..at]))
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
    props.retain(|prop| !prop.key.as_deref().is_some_and(is_mark));
}
