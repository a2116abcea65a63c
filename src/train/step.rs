//! One training step: the training graph on a batch, then the optimizer.

use crate::autodiff::training::TrainingGraph;
use crate::engine::{Engine, EngineError, Optimization, Session, SessionOptions};
use crate::onnx::tensor::Tensor;

use super::optimizer::Sgd;
use super::state::{Layout, Numbers, State};

/// A training graph ready to run, and how its results change the state.
pub struct TrainingStep {
    session: Box<dyn Session>,
    targets: String,
    classes: usize,
    layout: Layout,
    /// Momentum and elements per mean of each normalisation.
    normalizations: Vec<(f32, usize)>,
    optimizer: Sgd,
    label_smoothing: f32,
    /// Positions in the flat weights that stay zero, ascending.
    pruned: Vec<usize>,
}

/// What a step found out about its batch, before it changed the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Mean loss of the batch; not finite where the training has diverged, and then nothing was changed.
    pub loss: f64,
    /// Samples whose largest logit is the label's.
    pub correct: u64,
}

impl std::fmt::Debug for TrainingStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainingStep").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl TrainingStep {
    /// Loads the graph.
    pub fn new(
        engine: &dyn Engine,
        graph: &TrainingGraph,
        optimizer: Sgd,
        label_smoothing: f64,
        threads: usize,
    ) -> Result<Self, EngineError> {
        // Every operator is in the form that runs fastest already, and none of the weights is constant: rewriting finds
        // nothing.
        let options = SessionOptions { optimization: Optimization::Disabled, ..SessionOptions::with_threads(threads) };
        Ok(Self {
            session: engine.load(&graph.model, &options)?,
            targets: graph.targets.clone(),
            classes: graph.classes,
            layout: Layout::new(graph),
            normalizations: graph.normalizations.iter().map(|n| (n.momentum, n.count)).collect(),
            optimizer,
            label_smoothing: label_smoothing as f32,
            pruned: Vec::new(),
        })
    }

    /// Where the state's tensors lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Keeps the zeros of a sparse model: elements of matrices that are exactly 0 in `start` stay 0. A matrix of nothing
    /// but zeros is a layer that begins there, and is trained. Returns how many elements stay.
    pub fn keep_zeros(&mut self, start: &Numbers) -> usize {
        for slot in self.layout.weights.iter().filter(|slot| slot.decays) {
            let zeros = slot.range.clone().filter(|i| start.weights[*i] == 0.0);
            let before = self.pruned.len();
            self.pruned.extend(zeros);
            if self.pruned.len() - before == slot.range.len() {
                self.pruned.truncate(before);
            }
        }
        self.pruned.len()
    }

    /// Loss and gradients of a batch: the gradient of each weight in the order of the layout, then mean and variance of
    /// each normalisation.
    pub fn gradients(
        &mut self,
        state: &State,
        inputs: &[(String, Tensor)],
        labels: &[i64],
    ) -> Result<(StepResult, Vec<Tensor>), EngineError> {
        let targets = self.targets(labels);
        let weights: Vec<Tensor> = self.layout.weights.iter().map(|slot| slot.tensor(&state.now.weights)).collect();
        let mut feeds: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        feeds.push((&self.targets, &targets));
        feeds.extend(self.layout.weights.iter().zip(&weights).map(|(slot, tensor)| (slot.name.as_str(), tensor)));
        let mut outputs = self.session.run(&feeds)?;
        let rest = outputs.split_off(2.min(outputs.len()));
        // The training graph's first outputs are floats by construction.
        let [loss, logits] = outputs.as_slice() else { unreachable!("a training graph has a loss and logits") };
        let loss = loss.to_f32().ok().and_then(|loss| loss.first().copied()).map_or(f64::NAN, f64::from);
        let correct = logits.to_f32().map_or(0, |logits| correct(&logits, self.classes, labels));
        Ok((StepResult { loss, correct }, rest))
    }

    /// Runs a batch and changes weights, velocity and statistics.
    pub fn run(
        &mut self,
        state: &mut State,
        inputs: &[(String, Tensor)],
        labels: &[i64],
        rate: f64,
    ) -> Result<StepResult, EngineError> {
        let (result, outputs) = self.gradients(state, inputs, labels)?;
        if !result.loss.is_finite() {
            return Ok(result);
        }
        let (gradients, statistics) = outputs.split_at(self.layout.weights.len().min(outputs.len()));
        for (slot, gradient) in self.layout.weights.iter().zip(gradients) {
            // Weights are floats, and so are their gradients.
            let Ok(gradient) = gradient.to_f32() else { continue };
            let (weights, velocity) =
                (&mut state.now.weights[slot.range.clone()], &mut state.velocity[slot.range.clone()]);
            self.optimizer.step(weights, velocity, &gradient, rate as f32, slot.decays);
        }
        for i in &self.pruned {
            state.now.weights[*i] = 0.0;
            state.velocity[*i] = 0.0;
        }
        for (i, (slot, batch)) in self.layout.statistics.iter().zip(statistics).enumerate() {
            let Ok(batch) = batch.to_f32() else { continue };
            let (momentum, count) = self.normalizations[i / 2];
            // As PyTorch does, the running variance is of the unbiased kind, which needs two elements.
            let unbiased = if i % 2 == 1 { count as f32 / count.saturating_sub(1).max(1) as f32 } else { 1.0 };
            for (running, new) in state.now.statistics[slot.range.clone()].iter_mut().zip(batch.iter()) {
                *running = momentum * *running + (1.0 - momentum) * unbiased * new;
            }
        }
        Ok(result)
    }

    /// One row a sample: 1 at its label, or a share of it spread evenly over all classes.
    fn targets(&self, labels: &[i64]) -> Tensor {
        let spread = self.label_smoothing / self.classes as f32;
        let mut rows = vec![spread; labels.len() * self.classes];
        for (row, label) in rows.chunks_mut(self.classes).zip(labels) {
            if let Some(share) = usize::try_from(*label).ok().and_then(|label| row.get_mut(label)) {
                *share += 1.0 - self.label_smoothing;
            }
        }
        Tensor::from_f32(&[labels.len(), self.classes], &rows)
    }
}

/// Rows whose largest score, the first of equals, is at the label.
pub(super) fn correct(scores: &[f32], classes: usize, labels: &[i64]) -> u64 {
    let best = |row: &[f32]| {
        let mut best = 0;
        for (class, score) in row.iter().enumerate() {
            if *score > row[best] {
                best = class;
            }
        }
        best as i64
    };
    scores.chunks(classes.max(1)).zip(labels).filter(|(row, label)| best(row) == **label).count() as u64
}
