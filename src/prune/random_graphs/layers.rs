//! Layers that blocks are made of.

use rand::RngExt as _;

use super::maker::{Kind, Maker, Value, ints};
use crate::onnx::attribute::Attribute;

impl Maker<'_> {
    /// A layer of weights over the channels of a value.
    pub fn layer(&mut self, x: &Value, out: usize) -> Value {
        let name = match x.kind {
            Kind::Image { channels, .. } => self.conv(&x.name, channels, out, 1),
            Kind::Sequence { channels, .. } => self.linear(&x.name, channels, out),
            Kind::Rows { .. } => return self.dense(x, out),
        };
        x.with(name, out)
    }

    /// A dense layer on rows, in one of the forms of exporters.
    pub fn dense(&mut self, x: &Value, out: usize) -> Value {
        let Kind::Rows { channels } = x.kind else { panic!("not rows: {x:?}") };
        let name = if self.one_in(2) {
            let (w, b) = (self.weight(&[out, channels], channels), self.draw(&[out], -0.2, 0.2));
            self.node("Gemm", &[&x.name, &w, &b], &[("transB", Attribute::Int(1))])
        } else {
            self.linear(&x.name, channels, out)
        };
        Value { name, kind: Kind::Rows { channels: out } }
    }

    pub(super) fn linear(&mut self, x: &str, channels: usize, out: usize) -> String {
        let w = self.weight(&[channels, out], channels);
        let y = self.node("MatMul", &[x, &w], &[]);
        let b = self.draw(&[out], -0.2, 0.2);
        self.node("Add", &[&y, &b], &[])
    }

    pub(super) fn conv(&mut self, x: &str, channels: usize, out: usize, group: usize) -> String {
        let kernel = self.pick(&[1, 3]);
        let w = self.weight(&[out, channels / group, kernel, kernel], channels / group * kernel * kernel);
        let pad = (kernel / 2) as i64;
        let attributes = [("pads", ints(&[pad, pad, pad, pad])), ("group", Attribute::Int(group as i64))];
        if self.one_in(3) {
            return self.node("Conv", &[x, &w], &attributes);
        }
        let b = self.draw(&[out], -0.2, 0.2);
        self.node("Conv", &[x, &w, &b], &attributes)
    }

    pub(super) fn activation(&mut self, x: &str, slopes: usize) -> String {
        match self.rng.random_range(0..6) {
            0 => self.node("Sigmoid", &[x], &[]),
            1 => {
                let gate = self.node("Sigmoid", &[x], &[]);
                self.node("Mul", &[x, &gate], &[])
            }
            2 => {
                let shape = if slopes == 1 { vec![1] } else { vec![slopes, 1, 1] };
                let slope = self.draw(&shape, 0.1, 0.4);
                self.node("PRelu", &[x, &slope], &[])
            }
            3 => {
                let (low, high) = (self.scalar(0.0), self.scalar(6.0));
                self.node("Clip", &[x, &low, &high], &[])
            }
            _ => self.node("Relu", &[x], &[]),
        }
    }

    pub(super) fn gelu(&mut self, x: &str) -> String {
        let (root, one, half) = (self.scalar(std::f32::consts::SQRT_2), self.scalar(1.0), self.scalar(0.5));
        let y = self.node("Div", &[x, &root], &[]);
        let y = self.node("Erf", &[&y], &[]);
        let y = self.node("Add", &[&y, &one], &[]);
        let y = self.node("Mul", &[x, &y], &[]);
        self.node("Mul", &[&y, &half], &[])
    }

    /// As an operator where there is one, or written out.
    pub(super) fn layer_norm(&mut self, x: &str, channels: usize) -> String {
        let (scale, bias) = (self.draw(&[channels], 0.5, 1.5), self.draw(&[channels], -0.5, 0.5));
        if self.opset >= 17 && self.one_in(2) {
            return self.node("LayerNormalization", &[x, &scale, &bias], &[("axis", Attribute::Int(-1))]);
        }
        let mean = self.reduce("ReduceMean", x, -1, true);
        let distance = self.node("Sub", &[x, &mean], &[]);
        let two = self.scalar(2.0);
        let square = self.node("Pow", &[&distance, &two], &[]);
        let variance = self.reduce("ReduceMean", &square, -1, true);
        let epsilon = self.scalar(1e-5);
        let variance = self.node("Add", &[&variance, &epsilon], &[]);
        let deviation = self.node("Sqrt", &[&variance], &[]);
        let y = self.node("Div", &[&distance, &deviation], &[]);
        let y = self.node("Mul", &[&y, &scale], &[]);
        self.node("Add", &[&y, &bias], &[])
    }
}
