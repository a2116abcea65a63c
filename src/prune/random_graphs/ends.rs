//! Where a random graph begins and ends.

use rand::RngExt as _;

use super::bodies;
use super::maker::{Kind, Maker, Value};
use crate::cost::ExampleShapes;
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::Size;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;

/// Token ids that there are.
const VOCABULARY: usize = 7;

impl Maker<'_> {
    /// A model of a few blocks, and the sizes of its open axes.
    pub fn model(mut self) -> (Model, ExampleShapes) {
        let (mut value, examples) = self.input();
        for _ in 0..self.rng.random_range(2..9) {
            value = self.block(&value);
        }
        let value = self.rows(&value);
        let y = self.dense(&value, 3);
        self.b.output(&y.name, DataType::Float, &["n".into(), 3.into()]);
        if self.has_fused {
            self.b.import("com.microsoft", 1);
        }
        if self.has_calls {
            self.b.import(bodies::OWN, 1);
        }
        let mut model = self.b.build(self.opset);
        if self.has_calls {
            model.proto.functions = bodies::functions(self.opset);
        }
        bodies::fold(&mut model, &self.bodies);
        (model, examples)
    }

    /// Images, sequences, rows or token ids; axes other than the channels' are open now and then, with an example of them.
    fn input(&mut self) -> (Value, ExampleShapes) {
        let drawn = self.rng.random_range(0..8);
        let kind = match drawn {
            0..4 => Kind::Image { channels: 3, side: self.pick(&[4, 6, 8]) },
            4 | 5 => Kind::Sequence { length: self.pick(&[3, 4, 6]), channels: 4 },
            _ => Kind::Rows { channels: 5 },
        };
        let open = self.one_in(6);
        let size = |name: &str, size: usize| if open { Size::from(name) } else { size.into() };
        let (shape, example): (Vec<Size>, Vec<usize>) = match kind {
            Kind::Image { channels, side } => {
                (vec!["n".into(), channels.into(), size("h", side), size("w", side)], vec![2, channels, side, side])
            }
            Kind::Sequence { length, channels } => {
                (vec!["n".into(), size("t", length), channels.into()], vec![2, length, channels])
            }
            Kind::Rows { channels } => (vec!["n".into(), channels.into()], vec![2, channels]),
        };
        let examples = |example: &[usize]| {
            let sizes = example.iter().map(|size| *size as u64).collect();
            if open { ExampleShapes::from([("x".to_owned(), sizes)]) } else { ExampleShapes::new() }
        };
        if drawn == 5 {
            return (self.tokens(&shape[..2], example[1]), examples(&example[..2]));
        }
        (Value { name: self.b.input("x", DataType::Float, &shape), kind }, examples(&example))
    }

    fn tokens(&mut self, shape: &[Size], length: usize) -> Value {
        let ids = self.b.input("x", DataType::Int64, shape);
        let channels = self.width();
        let table = self.weight(&[VOCABULARY, channels], 3);
        Value::sequence(self.node("Gather", &[&table, &ids], &[("axis", Attribute::Int(0))]), length, channels)
    }

    /// Rows, made from whatever there is.
    pub fn rows(&mut self, value: &Value) -> Value {
        let name = &value.name;
        match value.kind {
            Kind::Rows { .. } => value.clone(),
            Kind::Image { channels, side } => {
                let (name, channels) = match self.rng.random_range(0..3) {
                    0 => (self.node("Flatten", &[name], &[]), channels * side * side),
                    1 => (self.reshape(name, &[-2, (channels * side * side) as i64]), channels * side * side),
                    _ => {
                        let pooled = self.node("GlobalAveragePool", &[name], &[]);
                        (self.node("Flatten", &[&pooled], &[]), channels)
                    }
                };
                Value::rows(name, channels)
            }
            Kind::Sequence { length, channels } => {
                let (name, channels) = match self.rng.random_range(0..3) {
                    0 => (self.reduce("ReduceMean", name, 1, false), channels),
                    1 => {
                        let first = self.b.constant(&Tensor::from_i64(&[], &[0]));
                        (self.node("Gather", &[name, &first], &[("axis", Attribute::Int(1))]), channels)
                    }
                    _ => (self.reshape(name, &[-2, (length * channels) as i64]), length * channels),
                };
                Value::rows(name, channels)
            }
        }
    }
}
