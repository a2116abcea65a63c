//! Normalisations.

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;

pub const BLOCKS: Blocks =
    &[(2, batch_norm), (2, group_norm), (1, instance_norm), (3, layer_norm), (2, over_channels), (1, other)];

fn batch_norm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let (scale, bias) = (m.draw(&[channels], 0.5, 1.5), m.draw(&[channels], -0.5, 0.5));
    let (mean, variance) = (m.draw(&[channels], -0.5, 0.5), m.draw(&[channels], 0.5, 1.5));
    Some(x.with(m.node("BatchNormalization", &[&x.name, &scale, &bias, &mean, &variance], &[]), channels))
}

/// As an operator, or as instance normalisation of reshaped channels.
fn group_norm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    let divisors: Vec<usize> = (1..=channels).filter(|groups| channels.is_multiple_of(*groups)).collect();
    let groups = m.pick(&divisors);
    if m.opset >= 18 && m.one_in(2) {
        let size = if m.opset < 21 { groups } else { channels };
        let (scale, bias) = (m.draw(&[size], 0.5, 1.5), m.draw(&[size], -0.5, 0.5));
        let attributes = [("num_groups", Attribute::Int(groups as i64))];
        return Some(x.with(m.node("GroupNormalization", &[&x.name, &scale, &bias], &attributes), channels));
    }
    let (ones, zeros) = (m.draw(&[groups], 0.9, 1.1), m.draw(&[groups], -0.1, 0.1));
    let y = m.reshape(&x.name, &[-2, groups as i64, -1]);
    let y = m.node("InstanceNormalization", &[&y, &ones, &zeros], &[]);
    let y = m.reshape(&y, &[-2, channels as i64, side as i64, side as i64]);
    let scale = m.draw(&[channels, 1, 1], 0.5, 1.5);
    Some(x.with(m.node("Mul", &[&y, &scale], &[]), channels))
}

fn instance_norm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let (scale, bias) = (m.draw(&[channels], 0.5, 1.5), m.draw(&[channels], -0.5, 0.5));
    Some(x.with(m.node("InstanceNormalization", &[&x.name, &scale, &bias], &[]), channels))
}

fn layer_norm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.as_image().is_some() {
        return None;
    }
    let channels = x.channels();
    let root_mean_square = if m.opset >= 23 { "RMSNormalization" } else { "SimplifiedLayerNormalization" };
    if m.one_in(3) {
        let scale = m.draw(&[channels], 0.5, 1.5);
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(1e-5))];
        return Some(x.with(m.node(root_mean_square, &[&x.name, &scale], &attributes), channels));
    }
    Some(x.with(m.layer_norm(&x.name, channels), channels))
}

fn over_channels(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let op_type = m.pick(&["LpNormalization", "LogSoftmax", "Softmax", "Hardmax"]);
    let y = m.node(op_type, &[&x.name], &[("axis", Attribute::Int(x.axis()))]);
    Some(x.with(m.node("Add", &[&y, &x.name], &[]), x.channels()))
}

/// Over neighbours, or over places.
fn other(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let name = if m.one_in(2) {
        m.node("LRN", &[&x.name], &[("size", Attribute::Int(3))])
    } else {
        m.node("MeanVarianceNormalization", &[&x.name], &[("axes", ints(&[2, 3]))])
    };
    Some(x.with(name, channels))
}
