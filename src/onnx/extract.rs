//! A part of a graph as a model of its own: from some values to others.

use std::collections::HashSet;

use super::dtype::DataType;
use super::graph::outer_names;
use super::model::Model;
use super::proto::{
    Dimension, GraphProto, ModelProto, SparseTensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue,
    ValueInfoProto,
};

/// A value at the border of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Border {
    pub name: String,
    pub dtype: DataType,
    /// The number of its axes where that is known: ONNX Runtime runs a Scan only if it can tell those of what it carries.
    pub rank: Option<usize>,
}

/// The nodes that compute `wanted` from `given`, with the constants that they read. What they need of the model's own
/// inputs stays an input; borders are declared by their types and numbers of axes alone.
///
/// Invariants: nodes keep their order; a value that is given is not computed, and is handed through where it is wanted.
pub fn extract(model: &Model, given: &[Border], wanted: &[Border]) -> Model {
    let graph = model.graph();
    let is_given: HashSet<&str> = given.iter().map(|border| border.name.as_str()).collect();
    let mut needed: HashSet<&str> = HashSet::new();
    let mut nodes: HashSet<usize> = HashSet::new();
    let mut pending: Vec<&str> = wanted.iter().map(|border| border.name.as_str()).collect();
    while let Some(name) = pending.pop() {
        if name.is_empty() || !needed.insert(name) || is_given.contains(name) {
            continue;
        }
        let Some((index, _)) = graph.producer(name) else { continue };
        if nodes.insert(index) {
            let node = graph.node(index);
            pending.extend(node.input.iter().map(String::as_str));
            pending.extend(node.subgraphs().flat_map(outer_names));
        }
    }
    let own = graph.proto;
    let is_needed = |name: &str| needed.contains(name) && !is_given.contains(name);
    let mut input: Vec<ValueInfoProto> = own.input.iter().filter(|info| is_needed(info.name())).cloned().collect();
    input.extend(given.iter().filter(|border| needed.contains(border.name.as_str())).map(declaration));
    let is_read = |tensor: &&SparseTensorProto| tensor.values.as_ref().is_some_and(|values| is_needed(values.name()));
    let graph = GraphProto {
        name: own.name.clone(),
        node: own.node.iter().enumerate().filter(|(at, _)| nodes.contains(at)).map(|(_, node)| node.clone()).collect(),
        initializer: own.initializer.iter().filter(|tensor| is_needed(tensor.name())).cloned().collect(),
        sparse_initializer: own.sparse_initializer.iter().filter(is_read).cloned().collect(),
        input,
        output: wanted.iter().map(declaration).collect(),
        ..GraphProto::default()
    };
    let proto = ModelProto {
        ir_version: model.proto.ir_version,
        opset_import: model.proto.opset_import.clone(),
        functions: model.proto.functions.clone(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    Model::new(proto)
}

fn declaration(border: &Border) -> ValueInfoProto {
    let shape = border.rank.map(|rank| TensorShapeProto { dim: vec![Dimension::default(); rank] });
    ValueInfoProto {
        name: Some(border.name.clone()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorType { elem_type: Some(border.dtype.number()), shape })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::tensor::Tensor;

    fn border(name: &str) -> Border {
        Border { name: name.to_owned(), dtype: DataType::Float, rank: None }
    }

    #[test]
    fn a_part_holds_what_lies_between_its_borders_and_nothing_else() {
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &["n".into(), 2.into()]);
        let one = b.initializer("one", &Tensor::from_f32(&[2], &[1.0, 1.0]));
        let two = b.initializer("two", &Tensor::from_f32(&[2], &[2.0, 2.0]));
        let sum = b.node("Add", &[&x, &one], &[]);
        let product = b.node("Mul", &[&sum, &two], &[]);
        let both = b.node("Sub", &[&product, &sum], &[]);
        b.output(&both, DataType::Float, &["n".into(), 2.into()]);
        let model = b.build(17);
        let operators =
            |part: &Model| part.graph_proto().node.iter().map(|n| n.op_type().to_owned()).collect::<Vec<_>>();
        let names = |infos: &[ValueInfoProto]| infos.iter().map(|info| info.name().to_owned()).collect::<Vec<_>>();

        let first = extract(&model, &[], &[border(&sum)]);
        assert_eq!(operators(&first), ["Add"]);
        assert_eq!((names(&first.graph_proto().input), first.graph_proto().initializer.len()), (vec![x], 1));
        let second = extract(&model, &[border(&sum)], &[border(&both)]);
        assert_eq!(operators(&second), ["Mul", "Sub"]);
        assert_eq!(names(&second.graph_proto().input), [sum]);
        assert_eq!(second.graph_proto().initializer[0].name(), "two");
    }
}
