//! Operators whose results are positions or depend on neighbours, and reductions.

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::Tensor;

pub const BLOCKS: Blocks =
    &[(2, largest), (2, where_largest), (2, running), (2, reversed), (1, triangle), (3, reduced)];

/// The largest along places or channels.
fn largest(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (axis, size) = match x.as_sequence() {
        Some((length, _)) if m.one_in(2) => (1, length),
        _ => (x.axis(), x.channels()),
    };
    let count = size.div_ceil(2);
    let k = m.numbers(&[count as i64]);
    let parts = m.b.nodes("TopK", &[&x.name, &k], &[("axis", Attribute::Int(axis))], 2);
    Some(match x.as_sequence() {
        Some((_, channels)) if axis == 1 => Value::sequence(parts[0].clone(), count, channels),
        _ => x.with(parts[0].clone(), count),
    })
}

/// Where the largest or smallest stands, as a number beside the others.
fn where_largest(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let axis = if x.as_sequence().is_some() && m.one_in(2) { 1 } else { x.axis() };
    let op_type = m.pick(&["ArgMax", "ArgMin"]);
    let y = m.node(op_type, &[&x.name], &[("axis", Attribute::Int(axis))]);
    let y = m.cast(&y, DataType::Float);
    let small = m.scalar(0.05);
    let y = m.node("Mul", &[&y, &small], &[]);
    Some(x.with(m.node("Add", &[&x.name, &y], &[]), x.channels()))
}

fn running(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let axis = if x.as_sequence().is_some() && m.one_in(2) { 1 } else { x.axis() };
    let axis = m.b.constant(&Tensor::from_i64(&[], &[axis]));
    Some(x.with(m.node("CumSum", &[&x.name, &axis], &[]), x.channels()))
}

/// Places in reverse, as long as every sample is: numbers made from the batch.
fn reversed(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let shape = m.node("Shape", &[&x.name], &[]);
    let zero = m.numbers(&[0]);
    let batch = m.node("Gather", &[&shape, &zero], &[]);
    let value: TensorProto = Tensor::from_i64(&[1], &[length as i64]).to_proto("value");
    let lengths = m.node("ConstantOfShape", &[&batch], &[("value", Attribute::Tensor(value))]);
    let attributes = [("time_axis", Attribute::Int(1)), ("batch_axis", Attribute::Int(0))];
    Some(x.with(m.node("ReverseSequence", &[&x.name, &lengths], &attributes), channels))
}

fn triangle(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    if m.opset < 14 {
        return None;
    }
    Some(x.with(m.node("Trilu", &[&x.name], &[("upper", Attribute::Int(0))]), channels))
}

/// Statistics over places or channels, added to every element.
fn reduced(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let op_type = m.pick(&[
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ]);
    let axis = match x.axis() {
        2 if m.one_in(2) => 1,
        _ if x.as_image().is_some() && m.one_in(2) => 3,
        axis => axis,
    };
    // A logarithm wants numbers above zero.
    let y = if op_type == "ReduceLogSum" {
        let one = m.scalar(1.0);
        let y = m.node("Sigmoid", &[&x.name], &[]);
        m.node("Add", &[&y, &one], &[])
    } else {
        m.node("Tanh", &[&x.name], &[])
    };
    let y = if m.opset < 18 && op_type != "ReduceSum" {
        m.node(op_type, &[&y], &[("axes", ints(&[axis]))])
    } else {
        let axes = m.numbers(&[axis]);
        m.node(op_type, &[&y, &axes], &[])
    };
    Some(x.with(m.node("Add", &[&x.name, &y], &[]), x.channels()))
}
