//! Whether rounding alone explains that two models differ.
//!
//! A step (a rounded number, a position of an extreme, a division by a deviation of almost nothing) turns the last bit of a
//! sum into a large difference. A model with one near by shows it: weights that are changed by one part in a million change
//! its outputs by more than a hundred times that.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::cost::inputs::{Feeds, Inputs, OPEN_SIZES};
use crate::engine::{Engine as _, SessionOptions, onnx_runtime};
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::prune::PruneSpec;
use crate::prune::prune;

/// By what share weights are changed, and what a certificate allows.
const CHANGE: f32 = 1e-6;
const ALLOWED: f32 = 1e-4;

/// Changes that are tried on each input.
const TRIES: u64 = 16;

/// Whether the cut model is such a model, on the inputs that its certificate was tried with.
pub fn is_touchy(model: &Model, spec: &PruneSpec) -> bool {
    let Ok(pruned) = prune(model, &PruneSpec { dry_run: true, ..spec.clone() }, None, 1, &|_| {}) else { return false };
    let cut = pruned.model;
    let (graph, inferred) = (cut.graph(), crate::onnx::shape::infer(&cut));
    let inputs = Inputs::new(&graph, &inferred, &spec.example_shapes);
    let draws = (0..2).filter_map(|at| inputs.draw(2 + at, OPEN_SIZES[0], spec.seed.wrapping_add(at)).ok());
    let draws: Vec<Feeds> = draws.collect();
    let redrawn = changed(&cut, &mut |value, rng| value.abs() * rng.random_range(-1.5..1.5), spec.seed);
    [&cut, &redrawn].into_iter().any(|model| {
        let Some(before) = run(model, &draws) else { return false };
        (0..TRIES).any(|seed| {
            let model = changed(model, &mut |value, rng| value * (1.0 + rng.random_range(-CHANGE..CHANGE)), seed);
            run(&model, &draws).is_some_and(|after| before.iter().zip(&after).any(|(a, b)| apart(a, b) > ALLOWED))
        })
    })
}

/// The model with every floating-point weight changed.
fn changed(model: &Model, change: &mut dyn FnMut(f32, &mut ChaCha8Rng) -> f32, seed: u64) -> Model {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = model.clone();
    for proto in &mut model.graph_proto_mut().initializer {
        let Some(tensor) = Tensor::from_proto(proto).ok().filter(|tensor| tensor.dtype.is_float() && tensor.len() > 1)
        else {
            continue;
        };
        let values = tensor.to_f32().expect("numbers");
        let values: Vec<f32> = values.iter().map(|value| change(*value, &mut rng)).collect();
        *proto = tensor.with_f32(&tensor.shape, &values).expect("numbers").to_proto(proto.name());
    }
    model
}

/// The numbers of every output on every input.
fn run(model: &Model, draws: &[Feeds]) -> Option<Vec<Vec<f32>>> {
    let mut session = onnx_runtime().ok()?.load(model, &SessionOptions::with_threads(1)).ok()?;
    let mut all = Vec::new();
    for feeds in draws {
        let feeds: Vec<_> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let outputs = session.run(&feeds).ok()?;
        all.extend(outputs.iter().filter_map(|output| Some(output.to_f32().ok()?.into_owned())));
    }
    Some(all)
}

/// The largest difference in shares of the largest number.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let scale = a.iter().fold(f32::MIN_POSITIVE, |scale, a| scale.max(a.abs()));
    a.iter().zip(b).fold(0.0, |apart: f32, (a, b)| apart.max((a - b).abs() / scale))
}
