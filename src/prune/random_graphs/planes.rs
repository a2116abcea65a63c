//! Operators that move, sample or regroup the places of a plane.

use rand::RngExt as _;

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

pub const BLOCKS: Blocks = &[
    (3, pool),
    (2, resize),
    (2, to_depth),
    (2, to_space),
    (2, regions),
    (2, sample),
    (2, crop),
    (2, columns),
    (2, volume),
];

fn pool(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if side < 4 {
        return None;
    }
    let op_type = m.pick(&["MaxPool", "AveragePool", "LpPool"]);
    let attributes = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    Some(Value::image(m.node(op_type, &[&x.name], &attributes), channels, side / 2))
}

/// To sizes that are computed as exporters do, or by constant factors.
fn resize(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    let to = if side <= 4 { 2 * side } else { side / 2 };
    let mode = [("mode", Attribute::String("nearest".into()))];
    let name = if m.one_in(2) {
        let shape = m.node("Shape", &[&x.name], &[]);
        let (start, end) = (m.numbers(&[0]), m.numbers(&[2]));
        let front = m.node("Slice", &[&shape, &start, &end], &[]);
        let sizes = m.numbers(&[to as i64, to as i64]);
        let sizes = m.node("Concat", &[&front, &sizes], &[("axis", Attribute::Int(0))]);
        m.node("Resize", &[&x.name, "", "", &sizes], &mode)
    } else {
        let factor = to as f32 / side as f32;
        let scales = m.b.constant(&Tensor::from_f32(&[4], &[1.0, 1.0, factor, factor]));
        m.node("Resize", &[&x.name, "", &scales], &mode)
    };
    Some(Value::image(name, channels, (side as f32 * (to as f32 / side as f32)) as usize))
}

fn to_depth(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if channels > 8 || side < 4 || !side.is_multiple_of(2) {
        return None;
    }
    let name = m.node("SpaceToDepth", &[&x.name], &[("blocksize", Attribute::Int(2))]);
    Some(Value::image(name, 4 * channels, side / 2))
}

fn to_space(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if side > 4 {
        return None;
    }
    let out = m.pick(&[2, 3, 4]);
    let y = m.conv(&x.name, channels, 4 * out, 1);
    let mode = m.pick(&["DCR", "CRD"]);
    let attributes = [("blocksize", Attribute::Int(2)), ("mode", Attribute::String(mode.into()))];
    Some(Value::image(m.node("DepthToSpace", &[&y], &attributes), out, 2 * side))
}

/// A region of the first sample, pooled and added to all.
fn regions(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    // ONNX Runtime has neither of operator set 22.
    if m.opset >= 22 {
        return None;
    }
    let last = side as f32 - 1.0;
    let y = if m.opset < 16 || m.one_in(2) {
        let region = m.b.constant(&Tensor::from_f32(&[1, 5], &[0.0, 0.0, 0.0, last, last]));
        m.node("MaxRoiPool", &[&x.name, &region], &[("pooled_shape", ints(&[2, 2]))])
    } else {
        let region = m.b.constant(&Tensor::from_f32(&[1, 4], &[0.0, 0.0, last, last]));
        let sample = m.numbers(&[0]);
        let attributes = [("output_height", Attribute::Int(2)), ("output_width", Attribute::Int(2))];
        m.node("RoiAlign", &[&x.name, &region, &sample], &attributes)
    };
    let y = m.node("GlobalAveragePool", &[&y], &[]);
    Some(x.with(m.node("Add", &[&x.name, &y], &[]), channels))
}

fn sample(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    if m.opset < 16 {
        return None;
    }
    let grid = m.conv(&x.name, channels, 2, 1);
    let grid = m.node("Tanh", &[&grid], &[]);
    let grid = m.transpose(&grid, &[0, 2, 3, 1]);
    Some(x.with(m.node("GridSample", &[&x.name, &grid], &[]), channels))
}

fn crop(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if m.opset < 18 {
        return None;
    }
    let to = m.rng.random_range(3..=side.max(3) + 1).min(8);
    let sizes = m.numbers(&[to as i64; 2]);
    let name = m.node("CenterCropPad", &[&x.name, &sizes], &[("axes", ints(&[2, 3]))]);
    Some(Value::image(name, channels, to))
}

fn columns(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if m.opset < 18 || side > 4 {
        return None;
    }
    let out = m.pick(&[2, 3, 4]);
    let y = m.conv(&x.name, channels, 4 * out, 1);
    let y = m.reshape(&y, &[-2, 4 * out as i64, (side * side) as i64]);
    let (size, block) = (m.numbers(&[2 * side as i64; 2]), m.numbers(&[2, 2]));
    let name = m.node("Col2Im", &[&y, &size, &block], &[("strides", ints(&[2, 2]))]);
    Some(Value::image(name, out, 2 * side))
}

/// A convolution of three axes, one of which half of the rows make.
fn volume(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if !side.is_multiple_of(2) {
        return None;
    }
    let (out, whole, half) = (m.width(), side as i64, (side / 2) as i64);
    let y = m.reshape(&x.name, &[-2, channels as i64, 2, half, whole]);
    let depth = m.pick(&[1, 3]);
    let w = m.weight(&[out, channels, depth, 3, 3], channels * depth * 9);
    let pad = (depth / 2) as i64;
    let b = m.draw(&[out], -0.2, 0.2);
    let y = m.node("Conv", &[&y, &w, &b], &[("pads", ints(&[pad, 1, 1, pad, 1, 1]))]);
    let y = if m.one_in(3) {
        let wider = m.cast(&y, DataType::Double);
        m.cast(&wider, DataType::Float)
    } else {
        y
    };
    Some(x.with(m.reshape(&y, &[-2, out as i64, whole, whole]), out))
}
