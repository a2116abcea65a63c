//! Calls of a model's own functions, written out.
//!
//! Newer exporters keep the layers of a framework as functions. Written out, what they are made of can be cut and trained like
//! anything else; the model computes the same. Knows nothing of shapes.

use std::borrow::Cow;
use std::collections::HashMap;

use super::model::Model;
use super::proto::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};

/// Nodes that a graph may grow to.
const MOST_NODES: usize = 200_000;

/// Why functions stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InlineError {
    #[error(
        "the function `{function}` is written for version {inside} of the operator set `{domain}`, the model for {outside}"
    )]
    Opset { function: String, domain: String, inside: i64, outside: i64 },
    #[error("the function `{function}` has graphs in its nodes")]
    Subgraph { function: String },
    #[error("a graph in a node calls the function `{function}`")]
    CalledInside { function: String },
    #[error("written out the graph would have more than {MOST_NODES} nodes")]
    TooLarge,
}

type Functions<'m> = HashMap<(&'m str, &'m str), &'m FunctionProto>;

/// The model with every call of its functions in the main graph written out; `None` where there is no call.
///
/// Errors: a function that cannot be; the model is left as it is then.
pub fn functions(model: &Model) -> Result<Option<Model>, InlineError> {
    let proto = &model.proto;
    let functions: Functions<'_> =
        proto.functions.iter().map(|function| ((plain(function.domain()), function.name()), function)).collect();
    let graph = model.graph_proto();
    let is_call = |node: &NodeProto| functions.contains_key(&(node.operator_domain(), node.op_type()));
    for subgraph in graph.node.iter().flat_map(NodeProto::subgraphs) {
        if let Some(call) = subgraph.node.iter().find(|node| is_call(node)) {
            return Err(InlineError::CalledInside { function: call.op_type().to_owned() });
        }
    }
    if !graph.node.iter().any(is_call) {
        return Ok(None);
    }
    let mut imports = proto.opset_import.clone();
    for function in &proto.functions {
        agree(function, &mut imports)?;
    }
    let mut writer = Writer { functions: &functions, nodes: Vec::with_capacity(graph.node.len()), calls: 0 };
    for node in &graph.node {
        writer.write(Cow::Borrowed(node))?;
    }
    let nodes = writer.nodes;
    let mut inlined = model.clone();
    inlined.graph_proto_mut().node = nodes;
    inlined.graph_proto_mut().value_info.clear();
    inlined.proto.functions.clear();
    inlined.proto.opset_import = imports;
    Ok(Some(inlined))
}

fn plain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Operator sets of a function have to be those of the model; sets that the model does not import are added.
fn agree(function: &FunctionProto, imports: &mut Vec<OperatorSetIdProto>) -> Result<(), InlineError> {
    for set in &function.opset_import {
        match imports.iter().find(|import| plain(import.domain()) == plain(set.domain())) {
            None => imports.push(set.clone()),
            Some(import) if import.version() == set.version() => {}
            Some(import) => {
                return Err(InlineError::Opset {
                    function: function.name().to_owned(),
                    domain: set.domain().to_owned(),
                    inside: set.version(),
                    outside: import.version(),
                });
            }
        }
    }
    Ok(())
}

struct Writer<'f> {
    functions: &'f Functions<'f>,
    nodes: Vec<NodeProto>,
    calls: usize,
}

impl Writer<'_> {
    fn write(&mut self, node: Cow<'_, NodeProto>) -> Result<(), InlineError> {
        let Some(function) = self.functions.get(&(node.operator_domain(), node.op_type())) else {
            if self.nodes.len() >= MOST_NODES {
                return Err(InlineError::TooLarge);
            }
            self.nodes.push(node.into_owned());
            return Ok(());
        };
        self.calls += 1;
        let prefix = format!("{}_{}", function.name(), self.calls);
        let given = function.input.iter().zip(node.input.iter().map(String::as_str).chain(std::iter::repeat("")));
        let mut names: HashMap<&str, String> =
            given.map(|(inside, outside)| (inside.as_str(), outside.to_owned())).collect();
        for (inside, outside) in function.output.iter().zip(&node.output).filter(|(_, outside)| !outside.is_empty()) {
            // An input that is handed on as it is gets a node of its own, for it has two names outside.
            if let Some(handed_on) = names.get(inside.as_str()) {
                self.nodes.push(identity(handed_on, outside));
            } else {
                names.insert(inside, outside.clone());
            }
        }
        let name_of = |names: &HashMap<&str, String>, name: &String| match names.get(name.as_str()) {
            _ if name.is_empty() => String::new(),
            Some(outside) => outside.clone(),
            None => format!("{prefix}/{name}"),
        };
        for inner in &function.node {
            if inner.subgraphs().next().is_some() {
                return Err(InlineError::Subgraph { function: function.name().to_owned() });
            }
            let mut written = with_attributes(inner, &node, function).into_owned();
            written.input = inner.input.iter().map(|name| name_of(&names, name)).collect();
            written.output = inner.output.iter().map(|name| name_of(&names, name)).collect();
            written.name = Some(inner.name()).filter(|name| !name.is_empty()).map(|name| format!("{prefix}/{name}"));
            self.write(Cow::Owned(written))?;
        }
        Ok(())
    }
}

fn identity(input: &str, output: &str) -> NodeProto {
    NodeProto {
        op_type: Some("Identity".to_owned()),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// A node of a function's body with the caller's attributes in the places that refer to them.
pub fn with_attributes<'n>(inner: &'n NodeProto, caller: &NodeProto, function: &FunctionProto) -> Cow<'n, NodeProto> {
    if inner.attribute.iter().all(|attribute| attribute.ref_attr_name().is_empty()) {
        return Cow::Borrowed(inner);
    }
    let mut node = inner.clone();
    let given = |reference: &str| {
        let default = || function.attribute_proto.iter().find(|attribute| attribute.name() == reference);
        caller.find_attribute(reference).or_else(default)
    };
    let resolve = |attribute: AttributeProto| match attribute.ref_attr_name() {
        "" => Some(attribute),
        reference => given(reference).map(|found| AttributeProto { name: attribute.name.clone(), ..found.clone() }),
    };
    node.attribute = std::mem::take(&mut node.attribute).into_iter().filter_map(resolve).collect();
    Cow::Owned(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attribute::Attribute;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;

    fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto {
            op_type: Some(op_type.to_owned()),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: outputs.iter().map(|name| (*name).to_owned()).collect(),
            ..NodeProto::default()
        }
    }

    fn set(domain: &str, version: i64) -> OperatorSetIdProto {
        OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
    }

    /// `leaky(x, slope) = LeakyRelu(x)`, `twice(x) = leaky(leaky(x))`, and a graph that calls `twice` two times.
    fn model(opset_inside: i64) -> Model {
        let mut slope = AttributeProto { name: Some("alpha".to_owned()), ..AttributeProto::default() };
        slope.ref_attr_name = Some("slope".to_owned());
        let mut relu = node("LeakyRelu", &["a"], &["b"]);
        relu.attribute = vec![slope];
        let leaky = FunctionProto {
            name: Some("leaky".to_owned()),
            domain: Some("own".to_owned()),
            input: vec!["a".to_owned()],
            output: vec!["b".to_owned()],
            attribute: vec!["slope".to_owned()],
            node: vec![relu],
            opset_import: vec![set("", opset_inside)],
            ..FunctionProto::default()
        };
        let mut calls = [node("leaky", &["x"], &["t"]), node("leaky", &["t"], &["y"])];
        for (call, slope) in calls.iter_mut().zip([0.5, 0.25]) {
            call.domain = Some("own".to_owned());
            call.set_attribute("slope", Attribute::Float(slope));
        }
        let twice = FunctionProto {
            name: Some("twice".to_owned()),
            domain: Some("own".to_owned()),
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            node: calls.to_vec(),
            opset_import: vec![set("", opset_inside), set("own", 1)],
            ..FunctionProto::default()
        };
        let mut b = GraphBuilder::new("calls");
        let x = b.input("x", DataType::Float, &[4.into()]);
        b.raw_node("own", "twice", &[&x], &[], &["h".to_owned()]);
        b.raw_node("own", "twice", &["h"], &[], &["y".to_owned()]);
        b.output("y", DataType::Float, &[4.into()]);
        b.import("own", 1);
        let mut model = b.build(17);
        model.proto.functions = vec![leaky, twice];
        model
    }

    #[test]
    fn functions_that_call_functions_are_written_out_with_the_callers_attributes() {
        let inlined = functions(&model(17)).unwrap().unwrap();
        let graph = inlined.graph_proto();
        let slopes: Vec<f32> = graph.node.iter().map(|node| node.float("alpha").unwrap()).collect();
        assert_eq!(slopes, [0.5, 0.25, 0.5, 0.25]);
        let chain = graph.node.windows(2).all(|pair| pair[0].output == pair[1].input);
        assert!(
            chain && graph.node[0].input == ["x"] && graph.node[1].output == ["h"] && graph.node[3].output == ["y"]
        );
        assert!(inlined.proto.functions.is_empty());
        assert_eq!(functions(&inlined), Ok(None));
    }

    #[test]
    fn a_function_of_another_operator_set_stays() {
        let error = functions(&model(13)).unwrap_err();
        assert!(matches!(error, InlineError::Opset { inside: 13, outside: 17, .. }), "{error}");
    }
}
