//! Shapes that are computed, some of them in ways that rules do not like.

use super::maker::{Maker, Value};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

pub const BLOCKS: Blocks =
    &[(2, computed_half), (2, there_and_back), (1, other_factors), (2, divided_by_size), (1, constant_node)];

/// One element of a value's shape.
fn size_of(m: &mut Maker<'_>, x: &str, axis: i64) -> String {
    let shape = m.node("Shape", &[x], &[]);
    let axis = m.numbers(&[axis]);
    m.node("Gather", &[&shape, &axis], &[])
}

/// Both halves of the channels, cut where half of a computed size says.
fn computed_half(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let channels = x.channels();
    if !channels.is_multiple_of(2) {
        return None;
    }
    let size = size_of(m, &x.name, x.axis());
    let two = m.numbers(&[2]);
    let half = m.node("Div", &[&size, &two], &[]);
    let (zero, axis) = (m.numbers(&[0]), m.numbers(&[x.axis()]));
    let left = m.node("Slice", &[&x.name, &zero, &half, &axis], &[]);
    let right = m.node("Slice", &[&x.name, &half, &size, &axis], &[]);
    let gate = m.node("Sigmoid", &[&right], &[]);
    let y = x.with(m.node("Mul", &[&left, &gate], &[]), channels / 2);
    let out = m.width();
    Some(m.layer(&y, out))
}

/// Flattened, changed, and given the shape that it had.
fn there_and_back(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let shape = m.node("Shape", &[&x.name], &[]);
    let flat = m.numbers(&[0, -1]);
    let y = m.node("Reshape", &[&x.name, &flat], &[]);
    let y = m.node("Relu", &[&y], &[]);
    Some(x.with(m.node("Reshape", &[&y, &shape], &[]), x.channels()))
}

/// The same elements, read with other factors: channels and places mix.
fn other_factors(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = match (x.as_image(), x.as_sequence()) {
        (Some((channels, side)), _) if channels * side <= 48 => (side, channels * side),
        (_, Some((length, channels))) if length <= 16 => (channels, length),
        _ => return None,
    };
    Some(Value::sequence(m.reshape(&x.name, &[-2, length as i64, channels as i64]), length, channels))
}

/// Numbers divided by how many there are of a sample.
fn divided_by_size(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let all = m.node("Size", &[&x.name], &[]);
    let batch = size_of(m, &x.name, 0);
    let each = m.node("Div", &[&all, &batch], &[]);
    let each = m.cast(&each, DataType::Float);
    let each = m.node("Sqrt", &[&each], &[]);
    let y = m.layer(x, x.channels());
    Some(x.with(m.node("Div", &[&y.name, &each], &[]), x.channels()))
}

/// A constant that is a node, one number a channel.
fn constant_node(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let channels = x.channels();
    let shape = if x.as_image().is_some() { vec![channels, 1, 1] } else { vec![channels] };
    let values: Vec<f32> = (0..channels).map(|at| 0.5 + at as f32 / channels as f32).collect();
    let value = Tensor::from_f32(&shape, &values).to_proto("value");
    let each = m.node("Constant", &[], &[("value", Attribute::Tensor(value))]);
    Some(x.with(m.node("Mul", &[&x.name, &each], &[]), channels))
}
