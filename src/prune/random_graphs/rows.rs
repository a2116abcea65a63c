//! Blocks on rows, and those that work on values of every kind.

use super::maker::{Maker, Value};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;

pub const BLOCKS: Blocks =
    &[(6, dense), (3, gated), (3, joined), (3, residual), (1, soft_lookup), (1, divided), (1, to_rows), (1, summed)];

fn dense(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    x.as_rows()?;
    let out = m.width();
    let y = m.dense(x, out);
    Some(y.with(m.activation(&y.name, 1), out))
}

fn gated(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let y = m.layer(x, x.channels());
    let gate = m.node("Softmax", &[&y.name], &[("axis", Attribute::Int(x.axis()))]);
    Some(x.with(m.node("Mul", &[&gate, &x.name], &[]), x.channels()))
}

fn joined(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.channels() > 32 {
        return None;
    }
    let out = m.width();
    let y = m.layer(x, out);
    let name = m.node("Concat", &[&y.name, &x.name], &[("axis", Attribute::Int(x.axis()))]);
    Some(x.with(name, out + x.channels()))
}

fn residual(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let hidden = m.width();
    let y = m.layer(x, hidden);
    let y = y.with(m.node("Relu", &[&y.name], &[]), hidden);
    let y = m.layer(&y, x.channels());
    Some(x.with(m.node("Add", &[&y.name, &x.name], &[]), x.channels()))
}

/// A table of embeddings that is read both ways: scores of its rows, and their mixture.
fn soft_lookup(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.as_image().is_some() {
        return None;
    }
    let table = m.weight(&[7, x.channels()], 3);
    let turned = m.transpose(&table, &[1, 0]);
    let scores = m.node("MatMul", &[&x.name, &turned], &[]);
    let scores = m.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
    Some(x.with(m.node("MatMul", &[&scores, &table], &[]), x.channels()))
}

/// A part of the channels, taken out by a slice, beside the whole.
fn divided(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let half = x.channels() / 2;
    if half == 0 {
        return None;
    }
    let bounds = if m.one_in(2) { [0, half as i64] } else { [-(half as i64), i64::MAX] };
    let [start, end] = bounds.map(|bound| m.numbers(&[bound]));
    let axis = m.numbers(&[x.axis()]);
    let part = x.with(m.node("Slice", &[&x.name, &start, &end, &axis], &[]), half);
    let y = m.layer(&part, half);
    let name = m.node("Concat", &[&y.name, &part.name], &[("axis", Attribute::Int(x.axis()))]);
    Some(x.with(name, 2 * half))
}

fn to_rows(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.as_rows().is_some() { None } else { Some(m.rows(x)) }
}

/// Several operands at once.
fn summed(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (a, b) = (m.layer(x, x.channels()), m.layer(x, x.channels()));
    let op_type = m.pick(&["Max", "Mean", "Min", "Sum"]);
    Some(x.with(m.node(op_type, &[&a.name, &x.name, &b.name], &[]), x.channels()))
}
