//! Operators that select, repeat or write elements.

use rand::RngExt as _;

use super::maker::{Maker, Value};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

pub const BLOCKS: Blocks = &[
    (3, gather_channels),
    (2, gather_elements),
    (2, gather_rows),
    (2, scatter_rows),
    (2, scatter_elements),
    (2, compress),
    (2, tile),
];

/// Channels in an order of their own, some of them twice.
fn gather_channels(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let channels = x.channels();
    let count = m.rng.random_range(1..=channels);
    let list: Vec<i64> = (0..count).map(|_| m.rng.random_range(0..channels) as i64).collect();
    let list = m.numbers(&list);
    let y = x.with(m.node("Gather", &[&x.name, &list], &[("axis", Attribute::Int(x.axis()))]), count);
    let out = m.width();
    Some(m.layer(&y, out))
}

/// Indices of elements of the first sample along the places.
fn places(m: &mut Maker<'_>, length: usize, shape: &[usize]) -> String {
    let count = shape.iter().product();
    let mut list = Vec::with_capacity(count);
    let start = m.rng.random_range(0..length);
    // Neighbours along the places are different, so that what is written does not depend on an order.
    let inner: usize = shape[2];
    for at in 0..count {
        list.push(((start + at / inner) % length) as i64);
    }
    m.b.constant(&Tensor::from_i64(shape, &list))
}

fn gather_elements(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let indices = places(m, length, &[1, length, channels]);
    let y = m.node("GatherElements", &[&x.name, &indices], &[("axis", Attribute::Int(1))]);
    Some(x.with(m.node("Add", &[&x.name, &y], &[]), channels))
}

fn scatter_elements(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let indices = places(m, length, &[1, 2, channels]);
    let updates = m.draw(&[1, 2, channels], -1.0, 1.0);
    let name = m.node("ScatterElements", &[&x.name, &indices, &updates], &[("axis", Attribute::Int(1))]);
    Some(x.with(name, channels))
}

fn two_rows(m: &mut Maker<'_>, length: usize) -> String {
    let first = m.rng.random_range(0..length);
    m.b.constant(&Tensor::from_i64(&[2, 1], &[first as i64, ((first + 1) % length) as i64]))
}

fn gather_rows(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let rows = two_rows(m, length);
    let y = m.transpose(&x.name, &[1, 0, 2]);
    let y = m.node("GatherND", &[&y, &rows], &[]);
    Some(Value::sequence(m.transpose(&y, &[1, 0, 2]), 2, channels))
}

fn scatter_rows(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let rows = two_rows(m, length);
    let other = m.linear(&x.name, channels, channels);
    let [y, other] = [x.name.as_str(), &other].map(|value| m.transpose(value, &[1, 0, 2]));
    let taken = m.node("GatherND", &[&other, &rows], &[]);
    let y = m.node("ScatterND", &[&y, &rows, &taken], &[]);
    Some(x.with(m.transpose(&y, &[1, 0, 2]), channels))
}

/// Places or channels that a constant condition names.
fn compress(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (axis, size) = match x.as_sequence() {
        Some((length, _)) if m.one_in(2) => (1, length),
        _ => (x.axis(), x.channels()),
    };
    let mut keep: Vec<u8> = (0..size).map(|_| m.rng.random_range(0..2)).collect();
    keep[0] = 1;
    let count: usize = keep.iter().map(|keep| usize::from(*keep)).sum();
    let condition = Tensor::from_bytes(DataType::Bool, &[size], keep.into()).expect("a byte for each");
    let condition = m.b.constant(&condition);
    let name = m.node("Compress", &[&x.name, &condition], &[("axis", Attribute::Int(axis))]);
    Some(match x.as_sequence() {
        Some((_, channels)) if axis == 1 => Value::sequence(name, count, channels),
        _ => x.with(name, count),
    })
}

/// Channels that are repeated as a whole.
fn tile(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.channels() > 16 {
        return None;
    }
    let rank = if x.as_image().is_some() { 4 } else { x.axis() + 1 };
    let repeats: Vec<i64> = (0..rank).map(|axis| if axis == x.axis() { 2 } else { 1 }).collect();
    let repeats = m.numbers(&repeats);
    Some(x.with(m.node("Tile", &[&x.name, &repeats], &[]), 2 * x.channels()))
}
