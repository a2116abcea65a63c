//! Attention, written out or as one operator.

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

pub const BLOCKS: Blocks =
    &[(4, written_out), (3, one_operator), (2, packed), (2, separate), (2, grouped), (2, windows)];

/// Numbers of an attention.
#[derive(Clone, Copy)]
struct Heads {
    length: i64,
    count: i64,
    size: i64,
}

impl Heads {
    fn inner(self) -> usize {
        (self.count * self.size) as usize
    }

    /// `[n, length, heads · size]` as `[n, heads, length, size]`.
    fn apart(self, m: &mut Maker<'_>, x: &str) -> String {
        let y = m.reshape(x, &[-2, self.length, self.count, self.size]);
        m.transpose(&y, &[0, 2, 1, 3])
    }

    fn together(self, m: &mut Maker<'_>, x: &str) -> String {
        let y = m.transpose(x, &[0, 2, 1, 3]);
        m.reshape(&y, &[-2, self.length, self.inner() as i64])
    }
}

fn residual(m: &mut Maker<'_>, x: &Value, y: &str, inner: usize) -> Value {
    let y = m.linear(y, inner, x.channels());
    x.with(m.node("Add", &[&y, &x.name], &[]), x.channels())
}

fn written_out(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let normed = m.layer_norm(&x.name, channels);
    let heads = Heads { length: length as i64, count: m.pick(&[1, 2, 3, 4]), size: m.pick(&[2, 3, 4]) };
    let parts = projections(m, &normed, channels, heads);
    let rotated = heads.size % 2 == 0 && m.one_in(3);
    let [q, k] = [0, 1].map(|at| if rotated { rotary(m, &parts[at], heads) } else { parts[at].clone() });
    let equation = |text: &str| [("equation", Attribute::String(text.to_owned()))];
    let by_equation = m.one_in(4);
    let scores = if by_equation {
        m.node("Einsum", &[&q, &k], &equation("bhid,bhjd->bhij"))
    } else {
        let keys = m.transpose(&k, &[0, 1, 3, 2]);
        m.node("MatMul", &[&q, &keys], &[])
    };
    let scale = scale(m, &q, heads.size);
    let mut scores = m.node("Div", &[&scores, &scale], &[]);
    if m.opset >= 14 && m.one_in(4) {
        scores = causal(m, &scores, length);
    }
    let weights = m.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
    let y = if by_equation {
        m.node("Einsum", &[&weights, &parts[2]], &equation("bhij,bhjd->bhid"))
    } else {
        m.node("MatMul", &[&weights, &parts[2]], &[])
    };
    let y = heads.together(m, &y);
    Some(residual(m, x, &y, heads.inner()))
}

/// Queries, keys and values from packed or separate projections.
fn projections(m: &mut Maker<'_>, x: &str, channels: usize, heads: Heads) -> Vec<String> {
    let inner = heads.inner();
    if m.one_in(2) {
        return (0..3)
            .map(|_| {
                let y = m.linear(x, channels, inner);
                heads.apart(m, &y)
            })
            .collect();
    }
    let y = m.linear(x, channels, 3 * inner);
    if m.one_in(2) {
        let sizes = m.numbers(&[inner as i64; 3]);
        let parts = m.b.nodes("Split", &[&y, &sizes], &[("axis", Attribute::Int(2))], 3);
        return parts.iter().map(|part| heads.apart(m, part)).collect();
    }
    let y = m.reshape(&y, &[-2, heads.length, 3, heads.count, heads.size]);
    let y = m.transpose(&y, &[2, 0, 3, 1, 4]);
    let part = |which| {
        let which = m.b.constant(&Tensor::from_i64(&[], &[which]));
        m.node("Gather", &[&y, &which], &[("axis", Attribute::Int(0))])
    };
    (0..3).map(part).collect()
}

/// A constant, or computed from a shape.
fn scale(m: &mut Maker<'_>, q: &str, size: i64) -> String {
    if m.one_in(2) {
        return m.scalar((size as f32).sqrt());
    }
    let shape = m.node("Shape", &[q], &[]);
    let last = m.b.constant(&Tensor::from_i64(&[], &[3]));
    let size = m.node("Gather", &[&shape, &last], &[]);
    let size = m.cast(&size, DataType::Float);
    m.node("Sqrt", &[&size], &[])
}

/// Scores of places behind are set to a large negative number.
fn causal(m: &mut Maker<'_>, scores: &str, length: usize) -> String {
    let ones = m.b.constant(&Tensor::from_f32(&[length, length], &vec![1.0; length * length]));
    let below = m.node("Trilu", &[&ones], &[("upper", Attribute::Int(0))]);
    let below = m.cast(&below, DataType::Bool);
    let least = m.scalar(-1e4);
    m.node("Where", &[&below, scores, &least], &[])
}

/// Positions turned in pairs, by either domain's operator or by parts and signs.
fn rotary(m: &mut Maker<'_>, x: &str, heads: Heads) -> String {
    let half = (heads.size / 2) as usize;
    let length = heads.length as usize;
    let [cos, sin] = [0.5, -0.5].map(|low| m.draw(&[length, half], low, 1.0));
    if m.opset < 23 && m.one_in(2) {
        let start = m.numbers(&[0]);
        return m.fused("RotaryEmbedding", &[x, &start, &cos, &sin], &[]);
    }
    if m.opset >= 23 && m.one_in(2) {
        let shape = m.node("Shape", &[x], &[]);
        let zero = m.numbers(&[0]);
        let batch = m.node("Gather", &[&shape, &zero], &[]);
        let rest = m.numbers(&[heads.length]);
        let shape = m.node("Concat", &[&batch, &rest], &[("axis", Attribute::Int(0))]);
        let range: Vec<i64> = (0..heads.length).collect();
        let range = m.numbers(&range);
        let ids = m.node("Expand", &[&range, &shape], &[]);
        return m.node("RotaryEmbedding", &[x, &cos, &sin, &ids], &[]);
    }
    let sizes = m.numbers(&[half as i64; 2]);
    let parts = m.b.nodes("Split", &[x, &sizes], &[("axis", Attribute::Int(3))], 2);
    let negative = m.node("Neg", &[&parts[1]], &[]);
    let turned = m.node("Concat", &[&negative, &parts[0]], &[("axis", Attribute::Int(3))]);
    let [cos, sin] = [cos, sin].map(|table| m.node("Concat", &[&table, &table], &[("axis", Attribute::Int(1))]));
    let a = m.node("Mul", &[x, &cos], &[]);
    let b = m.node("Mul", &[&turned, &sin], &[]);
    m.node("Add", &[&a, &b], &[])
}

/// `ai.onnx` Attention, its heads in attributes or in an axis.
fn one_operator(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    if m.opset < 23 {
        return None;
    }
    let (keys, shared, size) = (m.pick(&[1_usize, 2, 3]), m.pick(&[1_usize, 2]), m.pick(&[2_usize, 4]));
    let queries = keys * shared;
    let widths = [queries, keys, keys].map(|heads| heads * size);
    let parts = widths.map(|width| m.linear(&x.name, channels, width));
    if m.one_in(2) {
        let attributes =
            [("q_num_heads", Attribute::Int(queries as i64)), ("kv_num_heads", Attribute::Int(keys as i64))];
        let y = m.node("Attention", &[&parts[0], &parts[1], &parts[2]], &attributes);
        return Some(residual(m, x, &y, queries * size));
    }
    let heads = |count: usize| Heads { length: length as i64, count: count as i64, size: size as i64 };
    let parts = [queries, keys, keys].into_iter().zip(&parts).map(|(count, part)| heads(count).apart(m, part));
    let parts: Vec<String> = parts.collect();
    let y = m.node("Attention", &[&parts[0], &parts[1], &parts[2]], &[]);
    let y = heads(queries).together(m, &y);
    Some(residual(m, x, &y, queries * size))
}

/// ONNX Runtime's own, of packed weights.
fn packed(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    let (heads, size) = (m.pick(&[1_usize, 2, 3, 4]), m.pick(&[2_usize, 4]));
    let w = m.weight(&[channels, 3 * heads * size], channels);
    let b = m.draw(&[3 * heads * size], -0.2, 0.2);
    let y = m.fused("Attention", &[&x.name, &w, &b], &[("num_heads", Attribute::Int(heads as i64))]);
    Some(residual(m, x, &y, heads * size))
}

/// ONNX Runtime's own, of separate projections; their heads are turned first now and then.
fn separate(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let (heads, size) = (m.pick(&[1_usize, 2, 3, 4]), m.pick(&[2_usize, 4]));
    let mut parts = [(); 3].map(|()| m.linear(&x.name, channels, heads * size));
    let attributes = [("num_heads", Attribute::Int(heads as i64))];
    if m.one_in(2) {
        let [cos, sin] = [0.5, -0.5].map(|low| m.draw(&[length, size / 2], low, 1.0));
        let start = m.numbers(&[0]);
        for part in &mut parts[..2] {
            *part = m.fused("RotaryEmbedding", &[part, &start, &cos, &sin], &attributes);
        }
    }
    let y = m.fused("MultiHeadAttention", &[&parts[0], &parts[1], &parts[2]], &attributes);
    Some(residual(m, x, &y, heads * size))
}

/// ONNX Runtime's own with fewer heads of keys than of queries; how long each sample is comes from the batch.
fn grouped(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (length, channels) = x.as_sequence()?;
    let (keys, shared, size) = (m.pick(&[1_usize, 2]), m.pick(&[1_usize, 2, 3]), 8);
    let widths = [keys * shared, keys, keys].map(|heads| heads * size);
    let parts = widths.map(|width| m.linear(&x.name, channels, width));
    let shape = m.node("Shape", &[&x.name], &[]);
    let zero = m.numbers(&[0]);
    let batch = m.node("Gather", &[&shape, &zero], &[]);
    let last = m.integers(DataType::Int32, &[1], length as i32 - 1..length as i32);
    let lengths = m.node("Expand", &[&last, &batch], &[]);
    let total = m.integers(DataType::Int32, &[], length as i32..length as i32 + 1);
    let attributes =
        [("num_heads", Attribute::Int((keys * shared) as i64)), ("kv_num_heads", Attribute::Int(keys as i64))];
    let inputs = [&parts[0], &parts[1], &parts[2], "", "", &lengths, &total];
    m.has_fused = true;
    let outputs = ["GroupQueryAttention", "present_key", "present_value"].map(|stem| m.b.fresh(stem));
    m.b.raw_node("com.microsoft", "GroupQueryAttention", &inputs, &attributes, &outputs);
    Some(residual(m, x, &outputs[0], widths[0]))
}

/// An image cut into windows, which are sequences of a larger batch, and put together again.
fn windows(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    if side < 4 || !side.is_multiple_of(2) {
        return None;
    }
    let (c, half) = (channels as i64, (side / 2) as i64);
    let target = m.numbers(&[0, c, half, 2, half, 2]);
    let y = m.node("Reshape", &[&x.name, &target], &[]);
    let y = m.transpose(&y, &[0, 2, 4, 3, 5, 1]);
    let target = m.numbers(&[-1, 4, c]);
    let tokens = m.node("Reshape", &[&y, &target], &[]);
    let inside = Value::sequence(tokens, 4, channels);
    let inside = written_out(m, &inside)?;
    let target = m.numbers(&[-1, half, half, 2, 2, c]);
    let y = m.node("Reshape", &[&inside.name, &target], &[]);
    let y = m.node("Transpose", &[&y], &[("perm", ints(&[0, 5, 1, 3, 2, 4]))]);
    let target = m.numbers(&[-1, c, side as i64, side as i64]);
    Some(x.with(m.node("Reshape", &[&y, &target], &[]), channels))
}
