//! Blocks on sequences: mixing, recurrence, convolutions over time.

use rand::RngExt as _;

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;

pub const BLOCKS: Blocks =
    &[(3, linear), (4, feed_forward), (2, mixed), (3, recurrent), (2, over_time), (2, by_equation)];

fn linear(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    let out = m.width();
    let y = m.linear(&x.name, channels, out);
    Some(x.with(m.activation(&y, 1), out))
}

fn feed_forward(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    let hidden = m.width();
    let y = m.linear(&x.name, channels, hidden);
    let y = m.gelu(&y);
    let y = m.linear(&y, hidden, channels);
    Some(x.with(m.node("Add", &[&y, &x.name], &[]), channels))
}

/// A layer over places, shared by all channels.
fn mixed(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let y = m.transpose(&x.name, &[0, 2, 1]);
    let hidden = m.width();
    let y = m.linear(&y, length, hidden);
    let y = m.node("Relu", &[&y], &[]);
    let y = m.linear(&y, hidden, length);
    let y = m.transpose(&y, &[0, 2, 1]);
    Some(x.with(m.node("Add", &[&y, &x.name], &[]), channels))
}

/// A recurrent layer over a sequence with the batch in front; the outputs of both directions lie side by side.
fn recurrent(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let (op_type, gates) = m.pick(&[("LSTM", 4), ("GRU", 3), ("RNN", 1)]);
    let (directions, hidden) = (m.pick(&[1, 2]), m.pick(&[2, 3, 5, 6]));
    let x = m.transpose(&x.name, &[1, 0, 2]);
    let w = m.weight(&[directions, gates * hidden, channels], channels);
    let r = m.weight(&[directions, gates * hidden, hidden], hidden);
    let b = m.draw(&[directions, 2 * gates * hidden], -0.2, 0.2);
    let direction = if directions == 2 { "bidirectional" } else { "forward" };
    let attributes =
        [("hidden_size", Attribute::Int(hidden as i64)), ("direction", Attribute::String(direction.into()))];
    let y = m.node(op_type, &[&x, &w, &r, &b], &attributes);
    let y = m.transpose(&y, &[2, 0, 1, 3]);
    let shape = m.numbers(&[0, 0, -1]);
    let name = m.node("Reshape", &[&y, &shape], &[]);
    Some(Value::sequence(name, length, directions * hidden))
}

/// A convolution of one axis, or of two of which one is added and dropped again.
fn over_time(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    let out = m.width();
    let y = m.transpose(&x.name, &[0, 2, 1]);
    let y = if m.one_in(2) {
        let w = m.weight(&[out, channels, 3], channels * 3);
        m.node("Conv", &[&y, &w], &[("pads", ints(&[1, 1]))])
    } else {
        let axis = m.numbers(&[2]);
        let y = m.node("Unsqueeze", &[&y, &axis], &[]);
        let w = m.weight(&[out, channels, 1, 3], channels * 3);
        let y = m.node("Conv", &[&y, &w], &[("pads", ints(&[0, 1, 0, 1]))]);
        m.node("Squeeze", &[&y, &axis], &[])
    };
    Some(x.with(m.transpose(&y, &[0, 2, 1]), out))
}

/// Layers and sums over places as products by an equation.
fn by_equation(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    let equation = |text: &str| [("equation", Attribute::String(text.to_owned()))];
    if m.rng.random() {
        let out = m.width();
        let w = m.weight(&[out, channels], channels);
        return Some(x.with(m.node("Einsum", &[&x.name, &w], &equation("blc,dc->bld")), out));
    }
    let scores = m.node("Einsum", &[&x.name, &x.name], &equation("bic,bjc->bij"));
    let scores = m.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
    Some(x.with(m.node("Einsum", &[&scores, &x.name], &equation("bij,bjc->bic")), channels))
}
