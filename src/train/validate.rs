//! How well the model does on the samples that were held out, as it would do after export: the model itself with the
//! numbers of the moment, run for inference.

use crate::autodiff::emit::Value;
use crate::data::{Reader, prefetched};
use crate::engine::{Engine, SessionOptions};
use crate::onnx::builder::{Size, value_info};
use crate::onnx::model::Model;
use crate::spec::observer::Observer;

use super::error::TrainError;
use super::step::correct;

/// What is scored, and on what.
#[derive(Debug)]
pub struct Validation<'a> {
    pub reader: &'a Reader<'a>,
    /// Held-out samples.
    pub samples: &'a [usize],
    /// Samples in one run.
    pub batch: usize,
    /// The value that holds the logits.
    pub logits: &'a Value,
    pub classes: usize,
    pub threads: usize,
}

/// Figures over all held-out samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross-entropy in nats, without label smoothing.
    pub loss: f64,
    pub accuracy: f64,
}

impl Validation<'_> {
    /// Scores a model. Returns early where the observer wants to stop.
    pub fn score(&self, engine: &dyn Engine, model: &Model, observer: &dyn Observer) -> Result<Score, TrainError> {
        let mut model = model.clone();
        let sizes = self.logits.shape.iter().skip(1).map(|size| Size::Fixed(*size));
        let sizes: Vec<Size> = std::iter::once("batch".into()).chain(sizes).collect();
        let output = value_info(&self.logits.name, self.logits.dtype, &sizes);
        model.graph_proto_mut().output = vec![output];
        let mut session = engine.load(&model, &SessionOptions::with_threads(self.threads))?;
        let lists: Vec<Vec<usize>> = self.samples.chunks(self.batch.max(1)).map(<[usize]>::to_vec).collect();
        let (mut loss, mut hits) = (0.0, 0);
        prefetched(
            &lists,
            |samples| self.reader.batch(samples),
            |batch| {
                if observer.should_stop() {
                    return Err(TrainError::Interrupted);
                }
                let outputs = session.run(&batch.feeds())?;
                if let Some(logits) = outputs.first().and_then(|logits| logits.to_f32().ok()) {
                    hits += correct(&logits, self.classes, &batch.labels);
                    loss += logits
                        .chunks(self.classes)
                        .zip(&batch.labels)
                        .map(|(row, label)| cross_entropy(row, *label))
                        .sum::<f64>();
                }
                Ok(())
            },
        )?;
        let count = self.samples.len().max(1) as f64;
        Ok(Score { loss: loss / count, accuracy: hits as f64 / count })
    }
}

/// −log softmax(row)\[label]
fn cross_entropy(row: &[f32], label: i64) -> f64 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|score| f64::from(score - largest).exp()).sum();
    let own = usize::try_from(label).ok().and_then(|label| row.get(label)).copied().unwrap_or(f32::NEG_INFINITY);
    sum.ln() - f64::from(own - largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_of_even_and_of_large_scores() {
        assert!((cross_entropy(&[0.0; 4], 2) - 4.0_f64.ln()).abs() < 1e-12);
        assert!(cross_entropy(&[1000.0, 0.0], 0).abs() < 1e-12);
        assert!((cross_entropy(&[1000.0, 0.0], 1) - 1000.0).abs() < 1e-9);
    }
}
