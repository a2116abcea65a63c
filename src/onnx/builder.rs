//! Making graphs in code: for training graphs, masked references and tests.

use super::attribute::Attribute;
use super::dtype::DataType;
use super::model::Model;
use super::proto::{
    Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TensorType,
    TypeProto, TypeValue, ValueInfoProto,
};
use super::tensor::Tensor;

/// Size of an axis in a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    Fixed(usize),
    Named(String),
}

impl From<usize> for Size {
    fn from(size: usize) -> Self {
        Self::Fixed(size)
    }
}

impl From<&str> for Size {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

/// The declaration of a tensor value.
pub fn value_info(name: &str, dtype: DataType, shape: &[Size]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|size| Dimension {
            value: Some(match size {
                Size::Fixed(size) => DimensionValue::Value(*size as i64),
                Size::Named(name) => DimensionValue::Param(name.clone()),
            }),
            ..Dimension::default()
        })
        .collect();
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorType {
                elem_type: Some(dtype.number()),
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// Builds a graph node by node. Names of results are made from the operator and a counter unless they are given.
///
/// ```
/// use secateur::onnx::{builder::GraphBuilder, dtype::DataType, tensor::Tensor};
/// let mut b = GraphBuilder::new("relu");
/// let x = b.input("x", DataType::Float, &["n".into(), 3.into()]);
/// let y = b.node("Relu", &[&x], &[]);
/// b.output(&y, DataType::Float, &["n".into(), 3.into()]);
/// let model = b.build(17);
/// assert_eq!(model.graph_proto().node.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    graph: GraphProto,
    next: usize,
    domains: Vec<(String, i64)>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self {
            graph: GraphProto { name: Some(name.to_owned()), ..GraphProto::default() },
            next: 0,
            domains: Vec::new(),
        }
    }

    /// Goes on from a graph that is there already; new names do not collide with its names.
    pub fn from_graph(graph: GraphProto) -> Self {
        let next = graph.node.len() + graph.initializer.len();
        Self { graph, next, domains: Vec::new() }
    }

    /// Declares a graph input and returns its name.
    pub fn input(&mut self, name: &str, dtype: DataType, shape: &[Size]) -> String {
        self.graph.input.push(value_info(name, dtype, shape));
        name.to_owned()
    }

    /// Declares a graph output.
    pub fn output(&mut self, name: &str, dtype: DataType, shape: &[Size]) {
        self.graph.output.push(value_info(name, dtype, shape));
    }

    /// Adds an initializer and returns its name.
    pub fn initializer(&mut self, name: &str, tensor: &Tensor) -> String {
        self.graph.initializer.push(tensor.to_proto(name));
        name.to_owned()
    }

    /// Adds an initializer with a name of its own.
    pub fn constant(&mut self, tensor: &Tensor) -> String {
        let name = self.fresh("constant");
        self.initializer(&name, tensor)
    }

    /// Adds a node of the default domain with one output and returns the output's name. An empty input name is an input left out.
    pub fn node(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        self.nodes(op_type, inputs, attributes, 1).swap_remove(0)
    }

    /// Adds a node with several outputs and returns their names.
    pub fn nodes(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<String> {
        let outputs: Vec<String> = (0..outputs).map(|_| self.fresh(op_type)).collect();
        self.raw_node("", op_type, inputs, attributes, &outputs);
        outputs
    }

    /// Adds a node of any domain with named outputs.
    pub fn raw_node(
        &mut self,
        domain: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        outputs: &[String],
    ) {
        self.graph.node.push(NodeProto {
            name: Some(format!("{op_type}_{}", self.graph.node.len())),
            op_type: Some(op_type.to_owned()),
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: outputs.to_vec(),
            attribute: attributes.iter().map(|(name, value)| value.clone().into_proto(name)).collect(),
            ..NodeProto::default()
        });
    }

    /// Imports an operator set beside the default one.
    pub fn import(&mut self, domain: &str, version: i64) {
        self.domains.push((domain.to_owned(), version));
    }

    /// A name that no value made by this builder has.
    pub fn fresh(&mut self, stem: &str) -> String {
        self.next += 1;
        format!("{stem}__{}", self.next)
    }

    /// The nodes that are there by now.
    #[cfg(test)]
    pub fn nodes_made(&self) -> &[NodeProto] {
        &self.graph.node
    }

    /// The graph as it stands.
    pub fn into_graph(self) -> GraphProto {
        self.graph
    }

    /// The model in the given version of the default operator set, with the IR version that goes with it.
    pub fn build(self, opset: i64) -> Model {
        let mut opset_import = vec![OperatorSetIdProto { domain: None, version: Some(opset) }];
        opset_import.extend(
            self.domains
                .into_iter()
                .map(|(domain, version)| OperatorSetIdProto { domain: Some(domain), version: Some(version) }),
        );
        Model::new(ModelProto {
            ir_version: Some(8.max((opset - 8).min(10))),
            producer_name: Some("secateur".into()),
            opset_import,
            graph: Some(self.graph),
            ..ModelProto::default()
        })
    }
}
