//! What a part's time depends on, as a short text: operators, attributes, types and shapes, and the numbers that say
//! shapes. Names and the elements of weights do not matter.

use std::collections::HashMap;
use std::fmt::Write as _;

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::part::Part;
use crate::onnx::proto::{AttributeProto, GraphProto, TensorProto};
use crate::onnx::tensor::Tensor;

/// Elements of a constant of integers above which they count as data: axes, pads and shapes have a handful.
const MOST_NUMBERS: i64 = 64;

/// The signature: 32 hexadecimal digits. Equal for parts that take the same time.
pub fn of(part: &Part) -> String {
    let mut text = String::new();
    for import in &part.model.proto.opset_import {
        let _ = write!(text, "{}:{};", import.domain(), import.version());
    }
    for function in &part.model.proto.functions {
        let _ = write!(text, "{};", hex::encode(Sha256::digest(function.encode_to_vec())));
    }
    graph(&mut text, part.model.graph_proto());
    hex::encode(&Sha256::digest(text)[..16])
}

fn graph(text: &mut String, graph: &GraphProto) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    for info in &graph.input {
        let _ = write!(text, "input {} ", number(&mut numbers, info.name()));
        let kind = info.r#type.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let _ = writeln!(text, "{}", hex::encode(kind));
    }
    // In the order of use: the order in the file says nothing.
    let constants: HashMap<&str, &TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
    for node in &graph.node {
        let _ = write!(text, "{} {}", node.domain(), node.op_type());
        for name in &node.input {
            match constants.get(name.as_str()) {
                Some(tensor) if !numbers.contains_key(name.as_str()) => {
                    let _ = write!(text, " constant {} ", number(&mut numbers, name));
                    constant(text, tensor);
                }
                _ => drop(write!(text, " {}", number(&mut numbers, name))),
            }
        }
        for name in &node.output {
            let _ = write!(text, " > {}", number(&mut numbers, name));
        }
        let mut attributes: Vec<&AttributeProto> = node.attribute.iter().collect();
        attributes.sort_by(|a, b| a.name().cmp(b.name()));
        for held in attributes {
            attribute(text, held);
        }
        text.push('\n');
    }
    for info in &graph.output {
        let _ = writeln!(text, "output {}", number(&mut numbers, info.name()));
    }
}

fn number<'g>(numbers: &mut HashMap<&'g str, usize>, name: &'g str) -> usize {
    if name.is_empty() {
        return usize::MAX;
    }
    let next = numbers.len();
    *numbers.entry(name).or_insert(next)
}

fn constant(text: &mut String, tensor: &TensorProto) {
    let _ = write!(text, "{}{:?}", tensor.data_type(), tensor.dims);
    let few = tensor.dims.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
    if few.is_some_and(|count| count <= MOST_NUMBERS)
        && let Ok(tensor) = Tensor::from_proto(tensor)
        && !tensor.dtype.is_float()
        && let Ok(elements) = tensor.to_i64()
    {
        let _ = write!(text, "{elements:?}");
    }
}

fn attribute(text: &mut String, attribute: &AttributeProto) {
    let _ = write!(text, " {}=", attribute.name());
    match (&attribute.t, &attribute.g) {
        (Some(tensor), _) => constant(text, tensor),
        (None, Some(body)) => graph(text, body),
        (None, None) => text.push_str(&hex::encode(attribute.encode_to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attribute::Attribute;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;

    fn part(name: &str, weight: &[f32], width: usize, axis: i64) -> Part {
        let mut b = GraphBuilder::new(name);
        let x = b.input(&format!("{name}.x"), DataType::Float, &[1.into(), 2.into()]);
        let w = b.initializer(&format!("{name}.w"), &Tensor::from_f32(&[2, width], weight));
        let y = b.node("MatMul", &[&x, &w], &[]);
        let y = b.node("Softmax", &[&y], &[("axis", Attribute::Int(axis))]);
        b.output(&y, DataType::Float, &[1.into(), width.into()]);
        Part { model: b.build(17), feeds: Vec::new() }
    }

    #[test]
    fn names_and_weights_do_not_matter_but_shapes_and_attributes_do() {
        let one = of(&part("a", &[1.0, 2.0, 3.0, 4.0], 2, -1));
        assert_eq!(one, of(&part("b", &[5.0, 6.0, 7.0, 8.0], 2, -1)));
        assert_ne!(one, of(&part("a", &[1.0, 2.0], 1, -1)));
        assert_ne!(one, of(&part("a", &[1.0, 2.0, 3.0, 4.0], 2, 0)));
    }
}
