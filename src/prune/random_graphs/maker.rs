//! The values of a random graph, and what all blocks are built with.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::onnx::attribute::Attribute;
use crate::onnx::builder::{GraphBuilder, Size};
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
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

/// A graph in the making.
pub struct Maker<'r> {
    pub rng: &'r mut ChaCha8Rng,
    pub b: GraphBuilder,
    pub opset: i64,
    /// Weights that were made, to be shared: name and shape.
    weights: Vec<(String, Vec<usize>)>,
}

pub fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

impl<'r> Maker<'r> {
    pub fn new(rng: &'r mut ChaCha8Rng) -> Self {
        let opset = [13, 15, 17, 18, 21][rng.random_range(0..5)];
        Self { rng, b: GraphBuilder::new("random"), opset, weights: Vec::new() }
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

    /// A model of a few blocks.
    pub fn model(mut self) -> Model {
        let mut value = self.input();
        for _ in 0..self.rng.random_range(2..9) {
            value = self.block(value);
        }
        let value = self.rows(value);
        let y = self.dense(&value, 3);
        self.b.output(&y.name, DataType::Float, &["n".into(), 3.into()]);
        let opset = self.opset;
        self.b.build(opset)
    }

    fn input(&mut self) -> Value {
        let kind = match self.rng.random_range(0..5) {
            0..3 => Kind::Image { channels: 3, side: self.pick(&[4, 6, 8]) },
            3 => Kind::Sequence { length: self.pick(&[3, 4, 6]), channels: 4 },
            _ => Kind::Rows { channels: 5 },
        };
        let shape: Vec<Size> = match kind {
            Kind::Image { channels, side } => vec!["n".into(), channels.into(), side.into(), side.into()],
            Kind::Sequence { length, channels } => vec!["n".into(), length.into(), channels.into()],
            Kind::Rows { channels } => vec!["n".into(), channels.into()],
        };
        let name = self.b.input("x", DataType::Float, &shape);
        Value { name, kind }
    }

    /// Rows, made from whatever there is.
    pub fn rows(&mut self, value: Value) -> Value {
        let Value { name, kind } = value;
        match kind {
            Kind::Rows { .. } => Value { name, kind },
            Kind::Image { channels, side } => {
                let (name, channels) = match self.rng.random_range(0..3) {
                    0 => (self.node("Flatten", &[&name], &[]), channels * side * side),
                    1 => (self.reshape(&name, &[-2, (channels * side * side) as i64]), channels * side * side),
                    _ => {
                        let pooled = self.node("GlobalAveragePool", &[&name], &[]);
                        (self.node("Flatten", &[&pooled], &[]), channels)
                    }
                };
                Value { name, kind: Kind::Rows { channels } }
            }
            Kind::Sequence { length, channels } => {
                let (name, channels) = match self.rng.random_range(0..3) {
                    0 => (self.reduce("ReduceMean", &name, 1, false), channels),
                    1 => {
                        let first = self.b.constant(&Tensor::from_i64(&[], &[0]));
                        (self.node("Gather", &[&name, &first], &[("axis", Attribute::Int(1))]), channels)
                    }
                    _ => (self.reshape(&name, &[-2, (length * channels) as i64]), length * channels),
                };
                Value { name, kind: Kind::Rows { channels } }
            }
        }
    }
}
