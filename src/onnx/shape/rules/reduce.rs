//! Reductions and the position of an extreme value.

use super::elementwise::axis_attribute;
use super::{AI, Family};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axes_of};
use crate::onnx::shape::value::ShapeValue;

pub const FAMILIES: &[Family] = &[
    (
        AI,
        &[
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceSumSquare",
        ],
        reduce,
    ),
    (AI, &["ArgMax", "ArgMin"], arg),
];

fn reduce(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let keep = call.int("keepdims", 1) != 0;
    let axes = match call.numbers_from("axes", 1) {
        Ok(axes) => axes.unwrap_or_default(),
        // Which axes go is unknown, but all stay as axes.
        Err(_) if keep => return Ok(vec![Fact::new(call.dtype(0), call.unknown_dims(0, dims.len()))]),
        Err(reason) => return Err(reason),
    };
    let axes = if axes.is_empty() {
        if call.int("noop_with_empty_axes", 0) != 0 { Vec::new() } else { (0..dims.len()).collect() }
    } else {
        axes_of(&axes, dims.len())?
    };
    let mut reduced = Vec::new();
    for (axis, size) in dims.iter().enumerate() {
        if !axes.contains(&axis) {
            reduced.push(size.clone());
        } else if keep {
            reduced.push(Dim::known(1));
        }
    }
    let value = if axes.len() == dims.len() { total(call, if keep { dims.len() } else { 0 }) } else { None };
    Ok(vec![Fact::new(call.dtype(0), reduced).with_value(value)])
}

/// All elements of a shape value in one.
fn total(call: &Call, rank: usize) -> Option<ShapeValue> {
    let value = call.integers(0)?;
    let total = match call.node.op_type() {
        "ReduceProd" => Dim::product(&value.elements),
        "ReduceSum" => value.elements.iter().fold(Dim::known(0), |sum, element| sum.add(element)),
        "ReduceMax" => value.elements.iter().cloned().reduce(|a, b| a.maximum(&b))?,
        "ReduceMin" => value.elements.iter().cloned().reduce(|a, b| a.minimum(&b))?,
        _ => return None,
    };
    ShapeValue::new(vec![1; rank], vec![total])
}

fn arg(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let axis = axis_attribute(call, 0, dims.len())?;
    let mut reduced = dims.to_vec();
    if call.int("keepdims", 1) != 0 {
        reduced[axis] = Dim::known(1);
    } else {
        reduced.remove(axis);
    }
    Ok(vec![Fact::new(Some(DataType::Int64), reduced)])
}
