//! Every rule on a graph of its own, cut by half and certified on both engines; cuts that are made wrong on purpose.

mod allocated;
mod analyzed;
mod architectures;
mod bodies;
mod bodies_on_samples;
mod channels;
mod channels_last;
mod depth;
mod differentiated;
mod fused;
mod joined;
mod left_alone;
mod low_rank;
mod mutations;
mod mutations_inside;
mod normalised;
mod obs;
mod places;
mod quantized;
mod recurrent;
mod regrouped;
mod scored;
mod timed;
mod types;
mod unstructured;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::{GraphBuilder, Size};
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;
use crate::spec::prune::{PruneRequest, Target};

/// A graph in the making: names are short, weights are random.
struct Net {
    b: GraphBuilder,
    rng: ChaCha8Rng,
}

impl Net {
    fn new() -> Self {
        Self { b: GraphBuilder::new("net"), rng: ChaCha8Rng::seed_from_u64(7) }
    }

    /// An input with an open batch.
    fn input(&mut self, shape: &[usize]) -> String {
        let shape: Vec<Size> = [Size::from("n")].into_iter().chain(shape.iter().map(|size| (*size).into())).collect();
        self.b.input("x", DataType::Float, &shape)
    }

    fn random(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        Tensor::from_f32(shape, &values)
    }

    /// A weight under a name that tests ask for.
    fn weight(&mut self, name: &str, shape: &[usize]) -> String {
        let tensor = self.random(shape);
        self.b.initializer(name, &tensor)
    }

    fn positive(&mut self, name: &str, shape: &[usize]) -> String {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.rng.random_range(0.5..1.5)).collect();
        self.b.initializer(name, &Tensor::from_f32(shape, &values))
    }

    fn numbers(&mut self, values: &[i64]) -> String {
        self.b.constant(&Tensor::from_i64(&[values.len()], values))
    }

    fn node(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        self.b.node(op_type, inputs, attributes)
    }

    /// A node of ONNX Runtime's own domain.
    fn fused(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.b.fresh(op_type);
        self.b.raw_node("com.microsoft", op_type, inputs, attributes, std::slice::from_ref(&output));
        output
    }

    /// A 3 × 3 convolution with bias under `name` and `name.bias`.
    fn conv(&mut self, name: &str, x: &str, c_in: usize, c_out: usize) -> String {
        self.grouped_conv(name, x, c_in, c_out, 1)
    }

    fn grouped_conv(&mut self, name: &str, x: &str, c_in: usize, c_out: usize, group: usize) -> String {
        let w = self.weight(name, &[c_out, c_in / group, 3, 3]);
        let b = self.weight(&format!("{name}.bias"), &[c_out]);
        self.node("Conv", &[x, &w, &b], &[("pads", ints(&[1, 1, 1, 1])), ("group", Attribute::Int(group as i64))])
    }

    /// A dense layer on rows, under `name` and `name.bias`.
    fn dense(&mut self, name: &str, x: &str, c_in: usize, c_out: usize) -> String {
        let w = self.weight(name, &[c_out, c_in]);
        let b = self.weight(&format!("{name}.bias"), &[c_out]);
        self.node("Gemm", &[x, &w, &b], &[("transB", Attribute::Int(1))])
    }

    fn finish(self, y: &str, shape: &[usize]) -> Model {
        self.finish_in(y, shape, 17)
    }

    fn finish_in(mut self, y: &str, shape: &[usize], opset: i64) -> Model {
        let shape: Vec<Size> = [Size::from("n")].into_iter().chain(shape.iter().map(|size| (*size).into())).collect();
        self.b.output(y, DataType::Float, &shape);
        self.b.build(opset)
    }
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// Removal of a share of the channels, without rounding.
fn half() -> PruneSpec {
    let target = Some(Target::ChannelsRemoved(0.5));
    PruneRequest { target, round_to: Some(1.into()), ..PruneRequest::default() }.parse().unwrap()
}

/// Cut by half of its channels, with a certificate that says something, from every engine at hand.
fn certified(model: &Model) -> Pruned {
    let pruned = prune(model, &half(), None, 1, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
    let certificate = proof(&pruned);
    assert!(certificate.passed && !certificate.vacuous_on_own_weights, "{certificate:?}");
    for check in &certificate.checks {
        assert_eq!(check.declined, None, "{check:?}");
    }
    assert!(certificate.checks.iter().any(|check| check.engine == "tract"));
    pruned
}

/// The certificate of what is no dry run.
fn proof(pruned: &Pruned) -> &Certificate {
    pruned.report.certificate.as_ref().expect("a certificate")
}

/// As [`certified`], where tract may decline an operator.
fn certified_on_one(model: &Model) -> Pruned {
    let pruned = prune(model, &half(), None, 1, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
    let certificate = proof(&pruned);
    assert!(!certificate.vacuous_on_own_weights, "{certificate:?}");
    assert!(certificate.checks.iter().any(|check| check.engine == "onnxruntime" && check.error.is_some()));
    pruned
}

/// The outputs of a model on an input `x`, on an engine.
fn outputs(engine: &dyn crate::engine::Engine, model: &Model, x: &Tensor) -> Vec<Vec<f32>> {
    let mut session = engine.load(model, &crate::engine::SessionOptions::with_threads(1)).unwrap();
    let outputs = session.run(&[("x", x)]).unwrap();
    outputs.iter().map(|output| output.to_f32().unwrap().into_owned()).collect()
}

/// The largest difference of two models on both engines, in shares of the largest output.
fn apart(a: &Model, b: &Model, shape: &[usize]) -> f32 {
    let x = Net::new().random(shape);
    let runtime = crate::engine::onnx_runtime().unwrap();
    let engines: [&dyn crate::engine::Engine; 2] = [runtime, &crate::engine::tract()];
    let mut worst = 0.0_f32;
    for engine in engines {
        for (a, b) in outputs(engine, a, &x).iter().zip(&outputs(engine, b, &x)) {
            assert_eq!(a.len(), b.len());
            let scale = a.iter().fold(0.0_f32, |scale, a| scale.max(a.abs()));
            worst = a.iter().zip(b).fold(worst, |worst, (a, b)| worst.max((a - b).abs() / scale));
        }
    }
    worst
}

/// Shape of an initializer of the cut model.
fn shape(pruned: &Pruned, name: &str) -> Vec<i64> {
    let tensor = pruned.model.graph().initializer(name).unwrap_or_else(|| panic!("no initializer {name}"));
    tensor.dims.clone()
}

/// Why an axis of an initializer stays.
fn reason(pruned: &Pruned, name: &str, axis: usize) -> String {
    let what = format!("{name} (axis {axis})");
    let found = pruned.report.frozen.iter().find(|frozen| frozen.what == what);
    found.map(|frozen| format!("{}: {}", frozen.operator.as_deref().unwrap_or("-"), frozen.reason)).unwrap_or_default()
}
