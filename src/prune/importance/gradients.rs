//! Gradients of a loss with respect to weights, on calibration samples, of the model as it infers.
//!
//! The loss is chosen by what there is: labels that go with the scores of classes, or none. Its gradient at the output is
//! computed here, and led back to the weights by a graph of our own ([`crate::autodiff::pullback`]).

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::ImportanceError;
use super::loss_change::LossChange;
use super::observed::Evidence;
use crate::autodiff::pullback::pullback;
use crate::data::Batch;
use crate::engine::{Engine as _, Optimization, Session, SessionOptions, onnx_runtime};
use crate::onnx::raise::{TRAINING_OPSET, raise};
use crate::onnx::shape::infer;
use crate::onnx::tensor::Tensor;
use crate::prune::observe::{ObserveError, observe};

/// Over what samples a gradient is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The mean loss of a batch.
    Batch,
    /// The loss of one sample.
    Sample,
}

/// What is differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Cross-entropy with the dataset's labels.
    Labels,
    /// Cross-entropy with labels drawn from the model's own scores, whose squared gradients make the Fisher information.
    DrawnLabels,
    /// Half of the squared norm of the output. Source: Aljundi et al., "Memory Aware Synapses", ECCV 2018.
    SquaredNorm,
    /// The output times random signs, whose squared gradients make the Gauss-Newton matrix of a squared error.
    Signs,
}

/// Runs the way back from the first output to the wanted weights and hands out, for each batch or sample, the names of those
/// that have a gradient and their gradients. Returns notes: the loss, and what has no gradient and why.
///
/// Errors: nothing has a gradient, a label is none of the model's classes, a sample cannot be read, the model does not run,
/// or that of `take`. Cost: a forward pass, and for each gradient a forward and a backward pass.
pub fn gradients(
    change: LossChange,
    evidence: &Evidence<'_>,
    wanted: &[&str],
    seed: u64,
    mut take: impl FnMut(&[String], &[Tensor]) -> Result<(), ImportanceError>,
) -> Result<Vec<String>, ImportanceError> {
    let no_gradient = |reason| ImportanceError::NoGradient { criterion: change.criterion, reason };
    let raised = raise(evidence.model, TRAINING_OPSET).map_err(|error| no_gradient(error.to_string()))?.model;
    let output = raised.graph_proto().output.first().map(|info| info.name().to_owned());
    let output = output.ok_or_else(|| no_gradient("the model has no output".into()))?;
    let first = evidence.samples.batches().next().transpose().map_err(ObserveError::from)?;
    let first = first.ok_or_else(|| no_gradient("there is no sample".into()))?;
    let size = evidence.samples.fixed_batch().unwrap_or(match change.over {
        Over::Batch => rows(&first),
        Over::Sample => 1,
    });
    let back = pullback(&raised, &shapes(&first, size), &output, wanted).map_err(|e| no_gradient(e.to_string()))?;
    if back.weights.is_empty() {
        let why = back.frozen.first().map(|frozen| format!("`{}`: {}", frozen.what, frozen.reason));
        return Err(no_gradient(why.unwrap_or_else(|| "no weight can be cut".into())));
    }
    let options =
        SessionOptions { optimization: Optimization::Disabled, ..SessionOptions::with_threads(evidence.threads) };
    let session = onnx_runtime().and_then(|engine| engine.load(&back.model, &options)).map_err(ObserveError::from)?;
    let fed = back.model.graph().fed_inputs().map(|info| info.name().to_owned()).collect();
    let mut way = Way { session, fed, seed: back.seed.name.clone(), size };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = None;
    observe(&raised, &infer(&raised), &[&back.value], evidence.samples, evidence.threads, |batch, values| {
        let unreadable = |source| ImportanceError::Weight { tensor: back.value.clone(), source };
        let (scores, count) = (values[0].to_f32().map_err(unreadable)?, rows(batch));
        if values[0].shape.first() != Some(&count) || count == 0 {
            let shape = &values[0].shape;
            return Err(no_gradient(format!("`{output}` has the shape {shape:?} for {count} samples")));
        }
        let loss = *chosen.get_or_insert_with(|| Loss::of(&values[0].shape, batch, change.over));
        let width = scores.len() / count;
        let mut at_output = Vec::with_capacity(scores.len());
        for (sample, scores) in scores.chunks(width.max(1)).enumerate() {
            let label = batch.labels.get(sample).copied();
            at_output.extend(loss.gradient(scores, label, &mut random)?);
        }
        match change.over {
            Over::Batch => {
                for gradient in &mut at_output {
                    *gradient /= count as f32;
                }
                take(&back.weights, &way.back(batch, 0, &at_output, &back.seed.shape)?)
            }
            Over::Sample => (0..count).try_for_each(|sample| {
                let own = &at_output[sample * width..(sample + 1) * width];
                take(&back.weights, &way.back(batch, sample, own, &back.seed.shape)?)
            }),
        }
    })?;
    let mut notes = vec![chosen.unwrap_or(Loss::SquaredNorm).note(&output)];
    notes.extend(back.frozen.iter().map(|frozen| format!("`{}` has no gradient: {}", frozen.what, frozen.reason)));
    Ok(notes)
}

/// A way back that is ready to run, for `size` samples.
struct Way {
    session: Box<dyn Session>,
    /// The inputs that it takes.
    fed: Vec<String>,
    seed: String,
    size: usize,
}

impl Way {
    /// The gradients of the weights, given those of the output's rows from the sample `from` on. Samples that have none are
    /// fed where so many are asked for, and weigh nothing.
    fn back(
        &mut self,
        batch: &Batch,
        from: usize,
        rows: &[f32],
        seed: &[usize],
    ) -> Result<Vec<Tensor>, ImportanceError> {
        let mut at_output = rows.to_vec();
        at_output.resize(seed.iter().product(), 0.0);
        let at_output = Tensor::from_f32(seed, &at_output);
        let count = self::rows(batch);
        let samples: Vec<usize> = (from..from + self.size).map(|sample| sample % count).collect();
        let inputs: Vec<(&str, Tensor)> = (batch.inputs.iter())
            .filter(|(name, _)| self.fed.contains(name))
            .map(|(name, tensor)| (name.as_str(), picked(tensor, &samples)))
            .collect();
        let mut feeds: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        feeds.push((&self.seed, &at_output));
        Ok(self.session.run(&feeds).map_err(ObserveError::from)?)
    }
}

impl Loss {
    /// The loss for an output of this shape.
    fn of(shape: &[usize], batch: &Batch, over: Over) -> Self {
        let are_scores = shape.len() >= 2 && shape[1] >= 2 && shape[2..].iter().all(|size| *size == 1);
        match over {
            _ if are_scores && !batch.labels.is_empty() => Self::Labels,
            Over::Batch => Self::SquaredNorm,
            Over::Sample if are_scores => Self::DrawnLabels,
            Over::Sample => Self::Signs,
        }
    }

    /// The gradient at the output's numbers for one sample.
    fn gradient(
        self,
        scores: &[f32],
        label: Option<i64>,
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<f32>, ImportanceError> {
        let label = match self {
            Self::SquaredNorm => return Ok(scores.to_vec()),
            Self::Signs => return Ok(scores.iter().map(|_| if random.random() { 1.0 } else { -1.0 }).collect()),
            Self::Labels => {
                let label = label.unwrap_or(-1);
                let classes = scores.len();
                let index = usize::try_from(label).ok().filter(|index| *index < classes);
                index.ok_or(ImportanceError::Label { label, classes })?
            }
            Self::DrawnLabels => drawn(&softmax(scores), random.random()),
        };
        let mut gradient: Vec<f32> = softmax(scores).into_iter().map(|share| share as f32).collect();
        gradient[label] -= 1.0;
        Ok(gradient)
    }

    fn note(self, output: &str) -> String {
        match self {
            Self::Labels => format!("the loss is the cross-entropy of `{output}` with the dataset's labels"),
            Self::DrawnLabels => format!(
                "the loss is the cross-entropy of `{output}` with labels drawn from it, for the dataset has none"
            ),
            Self::SquaredNorm => format!(
                "the loss is half of the squared norm of `{output}`, for there are no labels of classes that it scores"
            ),
            Self::Signs => {
                format!("the loss is `{output}` times random signs, for there are no labels of classes that it scores")
            }
        }
    }
}

fn softmax(scores: &[f32]) -> Vec<f64> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores.iter().map(|score| f64::from(score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The index that a number between 0 and 1 falls on.
fn drawn(shares: &[f64], mut at: f64) -> usize {
    for (index, share) in shares.iter().enumerate() {
        at -= share;
        if at < 0.0 {
            return index;
        }
    }
    shares.len() - 1
}

fn rows(batch: &Batch) -> usize {
    batch.inputs.first().and_then(|(_, tensor)| tensor.shape.first().copied()).unwrap_or(0)
}

/// The shapes of the inputs for so many samples.
fn shapes(batch: &Batch, samples: usize) -> BTreeMap<String, Vec<i64>> {
    let shape = |tensor: &Tensor| {
        let behind = tensor.shape.iter().skip(1).map(|size| *size as i64);
        std::iter::once(samples as i64).chain(behind).collect()
    };
    batch.inputs.iter().map(|(name, tensor)| (name.clone(), shape(tensor))).collect()
}

/// Some samples of an input, which lie along its first axis.
fn picked(tensor: &Tensor, samples: &[usize]) -> Tensor {
    let count = tensor.shape.first().copied().unwrap_or(1).max(1);
    let stride = tensor.data.len() / count;
    let piece = |sample: &usize| tensor.data.slice(sample * stride..(sample + 1) * stride);
    let data =
        if let [one] = samples { piece(one) } else { samples.iter().map(piece).collect::<Vec<_>>().concat().into() };
    let mut shape = tensor.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = samples.len();
    }
    Tensor { shape, data, ..tensor.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_drawn_by_their_shares() {
        let shares = softmax(&[0.0, (2.0_f32).ln(), 0.0]);
        assert!((shares[1] - 0.5).abs() < 1e-6 && (shares[0] - 0.25).abs() < 1e-6);
        assert_eq!([0.0, 0.24, 0.26, 0.74, 0.76, 1.0].map(|at| drawn(&shares, at)), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn samples_are_picked_in_the_order_that_is_asked_for() {
        let tensor = Tensor::from_f32(&[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let picked = picked(&tensor, &[2, 0]);
        assert_eq!(
            (picked.shape.as_slice(), picked.to_f32().unwrap().to_vec()),
            (&[2, 2][..], vec![4.0, 5.0, 0.0, 1.0])
        );
    }
}
