//! The values of a random graph, and what all blocks are built with.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::bodies::Body;
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::GraphBuilder;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

/// What a value is; the batch, which is open, comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[n, channels, height, width]`
    Image { channels: usize, side: usize },
    /// `[n, length, channels]`
    Sequence { length: usize, channels: usize },
    /// `[n, channels]`
    Rows { channels: usize },
}

/// A value of the graph.
#[derive(Clone, Debug)]
pub struct Value {
    pub name: String,
    pub kind: Kind,
}

impl Value {
    pub fn image(name: String, channels: usize, side: usize) -> Self {
        Self { name, kind: Kind::Image { channels, side } }
    }

    pub fn sequence(name: String, length: usize, channels: usize) -> Self {
        Self { name, kind: Kind::Sequence { length, channels } }
    }

    pub fn rows(name: String, channels: usize) -> Self {
        Self { name, kind: Kind::Rows { channels } }
    }

    /// Another value of the same places.
    pub fn with(&self, name: String, channels: usize) -> Self {
        match self.kind {
            Kind::Image { side, .. } => Self::image(name, channels, side),
            Kind::Sequence { length, .. } => Self::sequence(name, length, channels),
            Kind::Rows { .. } => Self::rows(name, channels),
        }
    }

    pub fn channels(&self) -> usize {
        match self.kind {
            Kind::Image { channels, .. } | Kind::Sequence { channels, .. } | Kind::Rows { channels } => channels,
        }
    }

    /// Where its channels are.
    pub fn axis(&self) -> i64 {
        if matches!(self.kind, Kind::Sequence { .. }) { 2 } else { 1 }
    }

    /// Channels and side.
    pub fn as_image(&self) -> Option<(usize, usize)> {
        if let Kind::Image { channels, side } = self.kind { Some((channels, side)) } else { None }
    }

    /// Length and channels.
    pub fn as_sequence(&self) -> Option<(usize, usize)> {
        if let Kind::Sequence { length, channels } = self.kind { Some((length, channels)) } else { None }
    }

    pub fn as_rows(&self) -> Option<usize> {
        if let Kind::Rows { channels } = self.kind { Some(channels) } else { None }
    }
}

/// A graph in the making.
pub struct Maker<'r> {
    pub rng: &'r mut ChaCha8Rng,
    pub b: GraphBuilder,
    pub opset: i64,
    /// Graphs to be put into nodes in the end.
    pub(super) bodies: Vec<Body>,
    /// Whether nodes of ONNX Runtime's own domain were made.
    pub(super) has_fused: bool,
    /// Whether functions of the model are called.
    pub(super) has_calls: bool,
    /// Weights that were made, to be shared: name and shape.
    weights: Vec<(String, Vec<usize>)>,
}

pub fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

impl<'r> Maker<'r> {
    pub fn new(rng: &'r mut ChaCha8Rng) -> Self {
        let opset = [13, 15, 17, 18, 21, 23][rng.random_range(0..6)];
        Self {
            rng,
            b: GraphBuilder::new("random"),
            opset,
            bodies: Vec::new(),
            has_fused: false,
            has_calls: false,
            weights: Vec::new(),
        }
    }

    /// One in so many.
    pub fn one_in(&mut self, count: u32) -> bool {
        self.rng.random_ratio(1, count)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    /// A width; often one that divides into groups and heads.
    pub fn width(&mut self) -> usize {
        self.pick(&[2, 3, 4, 5, 6, 8, 8, 12, 12, 16])
    }

    pub fn node(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        self.b.node(op_type, inputs, attributes)
    }

    /// A node of ONNX Runtime's own domain.
    pub fn fused(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        self.has_fused = true;
        let output = self.b.fresh(op_type);
        self.b.raw_node("com.microsoft", op_type, inputs, attributes, std::slice::from_ref(&output));
        output
    }

    /// Weights that keep the scale of what passes. Now and then one of the same shape that is there already.
    pub fn weight(&mut self, shape: &[usize], fan_in: usize) -> String {
        let shared: Vec<String> =
            self.weights.iter().filter(|(_, other)| other == shape).map(|(name, _)| name.clone()).collect();
        if !shared.is_empty() && self.one_in(8) {
            return shared[self.rng.random_range(0..shared.len())].clone();
        }
        let scale = (3.0 / fan_in.max(1) as f32).sqrt();
        let name = self.draw(shape, -scale, scale);
        self.weights.push((name.clone(), shape.to_vec()));
        name
    }

    pub fn draw(&mut self, shape: &[usize], low: f32, high: f32) -> String {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.rng.random_range(low..high)).collect();
        self.b.constant(&Tensor::from_f32(shape, &values))
    }

    pub fn scalar(&mut self, value: f32) -> String {
        self.b.constant(&Tensor::from_f32(&[], &[value]))
    }

    pub fn numbers(&mut self, values: &[i64]) -> String {
        self.b.constant(&Tensor::from_i64(&[values.len()], values))
    }

    /// Numbers of one byte, two or four, drawn from a range.
    pub fn integers(&mut self, dtype: DataType, shape: &[usize], range: std::ops::Range<i32>) -> String {
        let width = dtype.bits() / 8;
        let drawn: Vec<i32> = (0..shape.iter().product()).map(|_| self.rng.random_range(range.clone())).collect();
        let data: Vec<u8> = drawn.iter().flat_map(|number| number.to_le_bytes()[..width].to_vec()).collect();
        self.b.constant(&Tensor::from_bytes(dtype, shape, data.into()).expect("as many bytes as the shape asks for"))
    }

    pub fn cast(&mut self, x: &str, to: DataType) -> String {
        self.node("Cast", &[x], &[("to", Attribute::Int(i64::from(to.number())))])
    }

    /// One number a channel, as a constant that is broadcast to the value.
    pub fn per_channel(&mut self, x: &Value, low: f32, high: f32) -> String {
        let shape = if x.as_image().is_some() { vec![x.channels(), 1, 1] } else { vec![x.channels()] };
        self.draw(&shape, low, high)
    }

    pub fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.node("Transpose", &[x], &[("perm", ints(order))])
    }

    /// A reshape, its target a constant or computed from the shape of what is reshaped. `-2` stands for the batch.
    pub fn reshape(&mut self, x: &str, target: &[i64]) -> String {
        let target = if self.one_in(2) {
            let constant: Vec<i64> = target.iter().map(|size| if *size == -2 { 0 } else { *size }).collect();
            self.numbers(&constant)
        } else {
            let shape = self.node("Shape", &[x], &[]);
            let zero = self.numbers(&[0]);
            let batch = self.node("Gather", &[&shape, &zero], &[]);
            let parts: Vec<String> =
                target.iter().map(|size| if *size == -2 { batch.clone() } else { self.numbers(&[*size]) }).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            self.node("Concat", &parts, &[("axis", Attribute::Int(0))])
        };
        self.node("Reshape", &[x, &target], &[])
    }

    /// Reductions take their axes as an attribute below operator set 18.
    pub fn reduce(&mut self, op_type: &str, x: &str, axis: i64, keep: bool) -> String {
        let keep = ("keepdims", Attribute::Int(i64::from(keep)));
        if self.opset < 18 && op_type != "ReduceSum" {
            return self.node(op_type, &[x], &[("axes", ints(&[axis])), keep]);
        }
        let axes = self.numbers(&[axis]);
        self.node(op_type, &[x, &axes], &[keep])
    }
}
