//! Samples moved until the values before each BatchNormalization have the means and variances that it keeps from training.
//!
//! The kept statistics are the only trace of the training data in a file. Gradient steps on the samples themselves, all
//! weights fixed, make the samples' own statistics near to them, layer by layer at once.
//!
//! Source: Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, section 3.1; Yin et al., "Dreaming to
//! Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020.

use std::collections::BTreeMap;
use std::time::Instant;

use super::SyntheticError;
use super::draw::Input;
use crate::autodiff::statistics::{StatisticsError, StatisticsGraph, statistics_graph};
use crate::data::{Batch, Dataset, Reader};
use crate::engine::{Engine as _, Optimization, Session, SessionOptions, onnx_runtime};
use crate::onnx::dtype::DataType;
use crate::onnx::inline;
use crate::onnx::model::Model;
use crate::onnx::raise::{TRAINING_OPSET, raise};
use crate::onnx::tensor::Tensor;
use crate::spec::report::StatisticsMatch;
use crate::spec::synthetic::Distribution;

/// Steps for each sample; each costs about three passes over the samples.
const STEPS: usize = 60;

/// The first step of an element, in deviations of what it was drawn from; the last is near 0.
const STEP: f64 = 0.1;

/// Decay of the gradients' running mean and mean square (Kingma and Ba, "Adam", ICLR 2015).
const DECAY: [f64; 2] = [0.9, 0.999];

/// Moves the samples of inputs of 32-bit floats, so many at a time, and returns all samples anew.
///
/// Errors: there is nothing to match, no gradient reaches the inputs, or its graph does not run.
pub fn settle(
    model: &Model,
    inputs: &[Input],
    drawn: &Dataset,
    batch: usize,
    threads: usize,
) -> Result<(Vec<(String, Tensor)>, StatisticsMatch), SyntheticError> {
    let start = Instant::now();
    let graph = graph(model, inputs, batch)?;
    let options = SessionOptions { optimization: Optimization::Disabled, ..SessionOptions::with_threads(threads) };
    let mut session = onnx_runtime()?.load(&graph.model, &options)?;
    let reader = Reader::new(drawn, model)?;
    let mut settled: Vec<(String, Vec<f32>)> = graph.inputs.iter().map(|name| (name.clone(), Vec::new())).collect();
    let (mut before, mut after, mut batches) = (0.0, 0.0, 0.0);
    for from in (0..drawn.len()).step_by(batch) {
        let samples: Vec<usize> = (from..from + batch).collect();
        let feeds = reader.batch(&samples)?;
        let mut descent = Descent::new(&graph, inputs, feeds)?;
        let mut mismatch = 0.0;
        for step in 0..=STEPS {
            mismatch = descent.step(session.as_mut(), step)?;
            if step == 0 {
                before += mismatch;
            }
        }
        (after, batches) = (after + mismatch, batches + 1.0);
        for ((_, all), element) in settled.iter_mut().zip(descent.moved) {
            all.extend(element.values.iter().map(|value| *value as f32));
        }
    }
    let report = StatisticsMatch {
        layers: graph.layers as u64,
        steps: STEPS as u64,
        before: (before / f64::max(batches, 1.0)).sqrt(),
        after: (after / f64::max(batches, 1.0)).sqrt(),
        duration_ms: start.elapsed().as_millis() as u64,
    };
    let shape = |name: &str| inputs.iter().find(|input| input.name == name).map(|input| input.shape(drawn.len()));
    let tensors = settled.into_iter().filter_map(|(name, values)| {
        let tensor = Tensor::from_f32(&shape(&name)?, &values);
        Some((name, tensor))
    });
    Ok((tensors.collect(), report))
}

/// The graph of the mismatch for batches of one size.
fn graph(model: &Model, inputs: &[Input], batch: usize) -> Result<StatisticsGraph, SyntheticError> {
    // Functions that cannot be written out stay, and with them what they normalise.
    let written_out = inline::functions(model).ok().flatten();
    let raised = raise(written_out.as_ref().unwrap_or(model), TRAINING_OPSET);
    let raised = raised.map_err(|error| SyntheticError::NoGradient(error.to_string()))?.model;
    let sizes = |input: &Input| input.shape(batch).iter().map(|size| *size as i64).collect();
    let shapes: BTreeMap<String, Vec<i64>> = inputs.iter().map(|input| (input.name.clone(), sizes(input))).collect();
    let can_move =
        |input: &&Input| input.dtype == DataType::Float && !matches!(input.distribution, Distribution::Integers { .. });
    let wanted: Vec<String> = inputs.iter().filter(can_move).map(|input| input.name.clone()).collect();
    statistics_graph(&raised, &shapes, &wanted).map_err(|error| match error {
        StatisticsError::None => SyntheticError::NoBatchNorm,
        StatisticsError::NoGradient(reason) => SyntheticError::NoGradient(reason),
    })
}

/// A batch on its way.
struct Descent<'g> {
    graph: &'g StatisticsGraph,
    batch: Batch,
    /// As the graph's inputs.
    moved: Vec<Moved>,
}

/// The elements of an input that moves.
struct Moved {
    /// Its position in the batch.
    at: usize,
    values: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    /// Length of the first step.
    step: f64,
    bounds: [f64; 2],
}

impl<'g> Descent<'g> {
    fn new(graph: &'g StatisticsGraph, inputs: &[Input], batch: Batch) -> Result<Self, SyntheticError> {
        let mut moved = Vec::new();
        for name in &graph.inputs {
            let place = |(name_of, _): &(String, Tensor)| name_of == name;
            let (Some(at), Some(input)) =
                (batch.inputs.iter().position(place), inputs.iter().find(|input| input.name == *name))
            else {
                continue;
            };
            let unreadable = |reason: String| SyntheticError::Input {
                input: name.clone(),
                reason: format!("cannot be read: {reason}"),
            };
            let values = batch.inputs[at].1.to_f32().map_err(|error| unreadable(error.to_string()))?;
            let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let (deviation, bounds) = match input.distribution {
                Distribution::Uniform { low, high } => ((high - low) / 12.0_f64.sqrt(), [low, high]),
                Distribution::Normal { std, .. } => (std, [f64::NEG_INFINITY, f64::INFINITY]),
                Distribution::Integers { .. } => continue,
            };
            let zeros = vec![0.0; values.len()];
            moved.push(Moved { at, values, mean: zeros.clone(), square: zeros, step: STEP * deviation, bounds });
        }
        Ok(Self { graph, batch, moved })
    }

    /// Returns how far the batch is from the statistics, and goes on a step; after the last it stays.
    fn step(&mut self, session: &mut dyn Session, step: usize) -> Result<f64, SyntheticError> {
        let takes = |name: &str| self.graph.model.graph().fed_inputs().any(|info| info.name() == name);
        let feeds: Vec<(&str, &Tensor)> = self.batch.feeds().into_iter().filter(|(name, _)| takes(name)).collect();
        let outputs = session.run(&feeds)?;
        let read = |tensor: &Tensor| {
            tensor.to_f32().map(std::borrow::Cow::into_owned).map_err(|e| SyntheticError::NoGradient(e.to_string()))
        };
        let mismatch = read(&outputs[0])?.first().copied().map_or(0.0, f64::from);
        if !mismatch.is_finite() {
            return Err(SyntheticError::NoGradient("the values of drawn samples are no finite numbers".into()));
        }
        if step == STEPS {
            return Ok(mismatch);
        }
        let rate = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / STEPS as f64).cos());
        for (moved, gradient) in self.moved.iter_mut().zip(&outputs[1..]) {
            moved.go(&read(gradient)?, rate, step);
            let values: Vec<f32> = moved.values.iter().map(|value| *value as f32).collect();
            let tensor = &mut self.batch.inputs[moved.at].1;
            *tensor = Tensor::from_f32(&tensor.shape, &values);
        }
        Ok(mismatch)
    }
}

impl Moved {
    /// One step of Adam.
    fn go(&mut self, gradient: &[f32], rate: f64, step: usize) {
        let [first, second] = DECAY;
        let started = DECAY.map(|decay| 1.0 - decay.powi(step as i32 + 1));
        for (at, gradient) in gradient.iter().map(|number| f64::from(*number)).enumerate() {
            self.mean[at] = first * self.mean[at] + (1.0 - first) * gradient;
            self.square[at] = second * self.square[at] + (1.0 - second) * gradient * gradient;
            let root = (self.square[at] / started[1]).sqrt();
            let by = self.step * rate * self.mean[at] / started[0] / root.max(f64::MIN_POSITIVE);
            self.values[at] = (self.values[at] - by).clamp(self.bounds[0], self.bounds[1]);
        }
    }
}
