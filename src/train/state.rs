//! All that a training has learned so far, on flat buffers.

use std::collections::HashMap;
use std::ops::Range;

use crate::autodiff::training::TrainingGraph;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::spec::report::EpochReport;

/// Where each tensor lies in the flat buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub weights: Vec<Slot>,
    /// Running mean and variance of each normalisation, in pairs.
    pub statistics: Vec<Slot>,
}

/// One tensor in a flat buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    pub name: String,
    pub shape: Vec<usize>,
    pub range: Range<usize>,
    /// Whether weight decay applies.
    pub decays: bool,
}

impl Layout {
    /// The layout of a training graph's weights and statistics.
    pub fn new(graph: &TrainingGraph) -> Self {
        let place = |slots: Vec<(String, Vec<usize>, bool)>| {
            let mut from = 0;
            slots
                .into_iter()
                .map(|(name, shape, decays)| {
                    let range = from..from + shape.iter().product::<usize>();
                    from = range.end;
                    Slot { name, shape, range, decays }
                })
                .collect()
        };
        let weights = graph.weights.iter().map(|w| (w.name.clone(), w.shape.clone(), w.decays)).collect();
        let statistics = (graph.normalizations.iter())
            .flat_map(|n| {
                n.running.iter().zip(&n.batch).map(|(name, value)| (name.clone(), value.shape.clone(), false))
            })
            .collect();
        Self { weights: place(weights), statistics: place(statistics) }
    }

    /// Number of trained elements.
    pub fn parameters(&self) -> usize {
        length(&self.weights)
    }

    /// The elements of a model's constants in the order of this layout.
    pub fn read(&self, model: &Model) -> Numbers {
        let graph = model.graph();
        let read = |slots: &[Slot]| {
            let mut flat = vec![0.0; length(slots)];
            for slot in slots {
                if let Some(Ok(tensor)) = graph.constant(&slot.name)
                    && let Ok(elements) = tensor.to_f32()
                    && elements.len() == slot.range.len()
                {
                    flat[slot.range.clone()].copy_from_slice(&elements);
                }
            }
            flat
        };
        Numbers { weights: read(&self.weights), statistics: read(&self.statistics) }
    }

    /// Elements by the name of their constant.
    pub fn by_name<'a>(&'a self, numbers: &'a Numbers) -> HashMap<&'a str, &'a [f32]> {
        let pick = |slots: &'a [Slot], flat: &'a [f32]| {
            slots.iter().map(move |slot| (slot.name.as_str(), &flat[slot.range.clone()]))
        };
        pick(&self.weights, &numbers.weights).chain(pick(&self.statistics, &numbers.statistics)).collect()
    }
}

fn length(slots: &[Slot]) -> usize {
    slots.last().map_or(0, |slot| slot.range.end)
}

impl Slot {
    /// The tensor as it is fed.
    pub fn tensor(&self, flat: &[f32]) -> Tensor {
        Tensor::from_f32(&self.shape, &flat[self.range.clone()])
    }
}

/// The numbers of a model that training changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    pub weights: Vec<f32>,
    pub statistics: Vec<f32>,
}

impl Numbers {
    /// Whether none is infinite or not a number.
    pub fn are_finite(&self) -> bool {
        self.weights.iter().chain(&self.statistics).all(|number| number.is_finite())
    }
}

/// Sums over the steps of the epoch at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    pub loss: f64,
    pub correct: u64,
    pub samples: u64,
}

/// A training between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub now: Numbers,
    pub velocity: Vec<f32>,
    /// 0-based.
    pub epoch: u64,
    /// Steps done in this epoch, and in all.
    pub step_in_epoch: u64,
    pub step: u64,
    pub running: Running,
    /// Epochs that are done.
    pub history: Vec<EpochReport>,
    /// The best epoch (1-based) and its numbers; without validation the last is kept and this stays `None`.
    pub best: Option<(u32, Numbers)>,
}

impl State {
    /// The state before the first step.
    pub fn new(start: Numbers) -> Self {
        Self {
            velocity: vec![0.0; start.weights.len()],
            now: start,
            epoch: 0,
            step_in_epoch: 0,
            step: 0,
            running: Running::default(),
            history: Vec::new(),
            best: None,
        }
    }

    /// Takes the figures of the epoch that has just ended. The best has the highest validation accuracy; of equals the
    /// one with the lower loss, of those the earlier.
    pub fn end_epoch(&mut self, figures: EpochReport) {
        let key = |report: &EpochReport| report.validation_accuracy.zip(report.validation_loss);
        if let Some((accuracy, loss)) = key(&figures) {
            let best = self.best.as_ref().and_then(|(epoch, _)| self.history.get(*epoch as usize - 1)).and_then(key);
            let better = best.is_none_or(|(best, best_loss)| accuracy > best || (accuracy == best && loss < best_loss));
            if better {
                self.best = Some((figures.epoch, self.now.clone()));
            }
        }
        self.history.push(figures);
        self.running = Running::default();
        self.step_in_epoch = 0;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: u32, accuracy: f64, loss: f64) -> EpochReport {
        EpochReport {
            epoch,
            learning_rate: 0.1,
            training_loss: 1.0,
            training_accuracy: 0.5,
            validation_loss: Some(loss),
            validation_accuracy: Some(accuracy),
        }
    }

    #[test]
    fn the_best_epoch_is_the_most_accurate_then_the_lower_loss_then_the_earlier() {
        let mut state = State::new(Numbers { weights: vec![0.0], statistics: Vec::new() });
        for (number, accuracy, loss) in [(1, 0.5, 1.0), (2, 0.8, 0.7), (3, 0.8, 0.6), (4, 0.8, 0.6), (5, 0.7, 0.1)] {
            state.now.weights[0] = number as f32;
            state.end_epoch(epoch(number, accuracy, loss));
        }
        assert_eq!(state.best, Some((3, Numbers { weights: vec![3.0], statistics: Vec::new() })));
        assert_eq!(state.epoch, 5);
    }
}
