//! Blocks on images: convolutions, and what stands between them.

use rand::RngExt as _;

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;

pub const BLOCKS: Blocks = &[
    (8, conv),
    (3, grouped),
    (3, residual),
    (3, branches),
    (4, split),
    (2, squeeze_and_excite),
    (2, shuffle),
    (2, padded_shortcut),
    (2, transposed),
    (2, to_sequence),
    (2, where_to_look),
];

fn conv(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let out = m.width();
    let y = m.conv(&x.name, channels, out, 1);
    Some(x.with(m.activation(&y, out), out))
}

fn groups(m: &mut Maker<'_>, channels: usize) -> usize {
    let divisors: Vec<usize> = (1..=channels).filter(|group| channels.is_multiple_of(*group)).collect();
    m.pick(&divisors)
}

fn grouped(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let group = groups(m, channels);
    let out = group * m.pick(&[1, 2, 3]);
    Some(x.with(m.conv(&x.name, channels, out, group), out))
}

fn residual(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let y = m.conv(&x.name, channels, channels, 1);
    let y = m.activation(&y, channels);
    let y = m.conv(&y, channels, channels, 1);
    Some(x.with(m.node("Add", &[&y, &x.name], &[]), channels))
}

fn branches(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let (a, b) = (m.width(), m.width());
    let left = m.conv(&x.name, channels, a, 1);
    let right = m.conv(&x.name, channels, b, 1);
    let mut parts = vec![left.as_str(), &right];
    let mut width = a + b;
    if m.one_in(3) {
        parts.push(&left);
        width += a;
    }
    Some(x.with(m.node("Concat", &parts, &[("axis", Attribute::Int(1))]), width))
}

fn split(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    if channels < 2 {
        return None;
    }
    let at = if channels.is_multiple_of(2) { channels / 2 } else { m.rng.random_range(1..channels) };
    let sizes = m.numbers(&[at as i64, (channels - at) as i64]);
    let parts = m.b.nodes("Split", &[&x.name, &sizes], &[("axis", Attribute::Int(1))], 2);
    if 2 * at == channels && m.one_in(2) {
        let gate = m.node("Sigmoid", &[&parts[1]], &[]);
        return Some(x.with(m.node("Mul", &[&parts[0], &gate], &[]), at));
    }
    let out = m.width();
    let y = m.conv(&parts[0], at, out, 1);
    Some(x.with(m.node("Concat", &[&parts[1], &y], &[("axis", Attribute::Int(1))]), out + channels - at))
}

fn squeeze_and_excite(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let hidden = m.width();
    // ONNX Runtime has no `GlobalLpPool` of operator set 22.
    let pools = ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"];
    let pool = m.pick(if m.opset < 22 { &pools } else { &pools[..2] });
    let y = m.node(pool, &[&x.name], &[]);
    let squeeze = m.weight(&[hidden, channels, 1, 1], channels);
    let y = m.node("Conv", &[&y, &squeeze], &[]);
    let y = m.node("Relu", &[&y], &[]);
    let excite = m.weight(&[channels, hidden, 1, 1], hidden);
    let y = m.node("Conv", &[&y, &excite], &[]);
    let y = m.node("HardSigmoid", &[&y], &[]);
    Some(x.with(m.node("Mul", &[&x.name, &y], &[]), channels))
}

fn shuffle(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if !channels.is_multiple_of(2) {
        return None;
    }
    let (whole, half, side) = (channels as i64, (channels / 2) as i64, side as i64);
    let groups = m.pick(&[2, half]);
    let y = m.reshape(&x.name, &[-2, groups, whole / groups, side, side]);
    let y = m.transpose(&y, &[0, 2, 1, 3, 4]);
    Some(x.with(m.reshape(&y, &[-2, whole, side, side]), channels))
}

/// Channels padded by constants, as the shortcuts of small residual networks are.
fn padded_shortcut(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let pads = m.numbers(&[0, 1, 0, 0, 0, 2, 0, 0]);
    let wide = m.node("Pad", &[&x.name, &pads], &[]);
    let y = m.conv(&x.name, channels, channels + 3, 1);
    Some(x.with(m.node("Add", &[&wide, &y], &[]), channels + 3))
}

fn transposed(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let group = if m.one_in(2) { groups(m, channels) } else { 1 };
    let each = if group == 1 { m.width() } else { m.pick(&[1, 2, 3]) };
    let w = m.weight(&[channels, each, 3, 3], channels / group * 9);
    let attributes = [("pads", ints(&[1, 1, 1, 1])), ("group", Attribute::Int(group as i64))];
    Some(x.with(m.node("ConvTranspose", &[&x.name, &w], &attributes), group * each))
}

fn to_sequence(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    let y = m.reshape(&x.name, &[-2, channels as i64, (side * side) as i64]);
    Some(Value::sequence(m.transpose(&y, &[0, 2, 1]), side * side, channels))
}

/// Attention to places, from means and maxima over channels.
fn where_to_look(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let mean = m.reduce("ReduceMean", &x.name, 1, true);
    let max = m.reduce("ReduceMax", &x.name, 1, true);
    let y = m.node("Concat", &[&mean, &max], &[("axis", Attribute::Int(1))]);
    let y = m.conv(&y, 2, 1, 1);
    let y = m.node("Sigmoid", &[&y], &[]);
    Some(x.with(m.node("Mul", &[&x.name, &y], &[]), channels))
}
