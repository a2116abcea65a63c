//! How far a batch is from the statistics that a model's batch normalisations keep from training, and the gradient of that
//! at the inputs: one graph, of the model as it infers.

use std::collections::BTreeMap;

use super::backward::differentiate;
use super::emit::{Emitter, Value};
use super::forward::{Forward, Mode};
use super::training::{explain, name_outputs};
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;

/// Why there is no such graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    #[error("the model has no batch normalisation by constants")]
    None,
    #[error("{0}")]
    NoGradient(String),
}

/// The mismatch of a batch as a model.
///
/// Outputs in order: the mismatch (a scalar), and its gradient at each of `inputs`. The mismatch is the mean over the
/// normalisations of the mean over their channels of ((mean − kept mean) ÷ kept deviation)² + (deviation ÷ kept deviation − 1)².
#[derive(Debug)]
pub struct StatisticsGraph {
    pub model: Model,
    /// The wanted inputs that a gradient reaches.
    pub inputs: Vec<String>,
    /// Normalisations that take part.
    pub layers: usize,
}

/// Makes the graph for a raised model and inputs of the given shapes.
///
/// Errors: nothing is normalised by constants, or no gradient reaches any of the `wanted` inputs.
pub fn statistics_graph(
    model: &Model,
    shapes: &BTreeMap<String, Vec<i64>>,
    wanted: &[String],
) -> Result<StatisticsGraph, StatisticsError> {
    let mut forward = Forward::new(model, shapes, Mode::Inference);
    let kept: Vec<Kept> = forward.nodes().iter().filter_map(|node| Kept::of(&forward, node)).collect();
    if kept.is_empty() {
        return Err(StatisticsError::None);
    }
    let layers = kept.len();
    let (mismatches, seeds): (Vec<Value>, Vec<(String, Value)>) =
        kept.iter().map(|kept| kept.mismatch(&mut forward.emit, 1.0 / layers as f64)).unzip();
    let mut gradients = differentiate(&mut forward, &seeds, wanted);
    let total = mismatches.into_iter().reduce(|sum, part| forward.emit.add(&sum, &part));
    let total = total.ok_or(StatisticsError::None)?;
    let found = |name: &String| gradients.of.remove(name).map(|gradient| (name.clone(), gradient));
    let (inputs, mut outputs): (Vec<String>, Vec<Value>) = wanted.iter().filter_map(found).unzip();
    if inputs.is_empty() {
        let why = gradients.frozen.drain(..).next().map(|blocked| explain(blocked).reason);
        return Err(StatisticsError::NoGradient(why.unwrap_or_else(|| "no input holds 32-bit floats".into())));
    }
    outputs.insert(0, total);
    let mut model = forward.into_model(&outputs, &[]);
    name_outputs(&mut model);
    Ok(StatisticsGraph { model, inputs, layers })
}

/// What a normalisation keeps of the values that it was trained on.
struct Kept {
    x: Value,
    mean: Vec<f64>,
    /// With the ε that the node adds.
    variance: Vec<f64>,
    epsilon: f64,
}

impl Kept {
    fn of(forward: &Forward, node: &NodeProto) -> Option<Self> {
        if !node.is("BatchNormalization") || node.int("training_mode").unwrap_or(0) != 0 {
            return None;
        }
        let numbers = |slot: usize| {
            let tensor = forward.constants.get(node.input_name(slot)?)?;
            Some(tensor.to_f32().ok()?.iter().map(|number| f64::from(*number)).collect::<Vec<_>>())
        };
        let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
        let x = forward.value(node.input_name(0)?)?.clone();
        let (mean, variance) = (numbers(3)?, numbers(4)?);
        let channels = *x.shape.get(1)?;
        let is_whole = !x.is_empty() && mean.len() == channels && variance.len() == channels;
        let variance = variance.into_iter().map(|variance| variance.max(0.0) + epsilon).collect();
        is_whole.then_some(Self { x, mean, variance, epsilon })
    }

    /// The mismatch, and its gradient at the values that are normalised, both times `share`.
    fn mismatch(&self, emit: &mut Emitter, share: f64) -> (Value, (String, Value)) {
        let x = &self.x;
        let channels = self.mean.len();
        let count = (x.len() / channels) as f64;
        let others: Vec<usize> = (0..x.rank()).filter(|axis| *axis != 1).collect();
        let mut shape = vec![1; x.rank()];
        shape[1] = channels;
        let kept_mean = emit.floats(x, &shape, &self.mean);
        let inverse: Vec<f64> = self.variance.iter().map(|variance| variance.sqrt().recip()).collect();
        let inverse = emit.floats(x, &shape, &inverse);

        let sum = emit.sum(x, &others, true);
        let mean = emit.scale(&sum, 1.0 / count);
        let centred = emit.sub(x, &mean);
        let squares = emit.reduce("ReduceSumSquare", &centred, &others, true);
        let variance = emit.scale(&squares, 1.0 / count);
        let variance = emit.shift(&variance, self.epsilon);
        let deviation = emit.unary("Sqrt", &variance);
        let difference = emit.sub(&mean, &kept_mean);
        let shift = emit.mul(&difference, &inverse);
        let stretch = emit.mul(&deviation, &inverse);
        let stretch = emit.shift(&stretch, -1.0);

        let [shifts, stretches] = [&shift, &stretch].map(|part| emit.mul(part, part));
        let both = emit.add(&shifts, &stretches);
        let all: Vec<usize> = (0..x.rank()).collect();
        let total = emit.sum(&both, &all, false);
        let total = emit.scale(&total, share / channels as f64);

        // d mean / dx = 1 / count, d deviation / dx = (x − mean) / (count · deviation).
        let factor = 2.0 * share / (channels as f64 * count);
        let level = emit.mul(&shift, &inverse);
        let level = emit.scale(&level, factor);
        let slope = emit.mul(&stretch, &inverse);
        let slope = emit.div(&slope, &deviation);
        let slope = emit.scale(&slope, factor);
        let sloped = emit.mul(&centred, &slope);
        let gradient = emit.add(&sloped, &level);
        (total, (x.name.clone(), gradient))
    }
}
