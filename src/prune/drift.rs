//! How far a changed model is from its original on samples that nothing was fitted to.

use crate::data::Samples;
use crate::engine::{Engine as _, SessionOptions, onnx_runtime};
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::spec::report::Drift;

use super::observe::ObserveError;

/// Runs both models side by side.
///
/// Errors: a sample cannot be read, or a model does not run on it.
pub fn measure(original: &Model, changed: &Model, samples: Samples<'_>, threads: usize) -> Result<Drift, ObserveError> {
    let load = |model: &Model| onnx_runtime()?.load(model, &SessionOptions::with_threads(threads));
    let (mut original, mut changed) = (load(original)?, load(changed)?);
    let mut sums = Sums::default();
    for batch in samples.batches() {
        let batch = batch?;
        let (expected, found) = (original.run(&batch.feeds())?, changed.run(&batch.feeds())?);
        for (expected, found) in expected.iter().zip(&found) {
            sums.compare(expected, found);
        }
        if let (Some(expected), Some(found)) = (expected.first(), found.first()) {
            sums.count(&classes(expected), &classes(found), &batch.labels);
        }
    }
    Ok(sums.drift(samples.len() as u64))
}

/// What is added up over batches.
#[derive(Debug, Default)]
struct Sums {
    difference: f64,
    norm: f64,
    /// Samples whose classes are known for both models, and how many of them agree.
    scored: u64,
    agreed: u64,
    labelled: u64,
    right: u64,
    originally_right: u64,
}

impl Sums {
    fn compare(&mut self, expected: &Tensor, found: &Tensor) {
        let (Ok(expected), Ok(found)) = (expected.to_f32(), found.to_f32()) else { return };
        for (a, b) in expected.iter().zip(found.iter()).filter(|(a, _)| a.is_finite()) {
            self.difference += (f64::from(*a) - f64::from(*b)).powi(2);
            self.norm += f64::from(*a).powi(2);
        }
    }

    fn count(&mut self, expected: &[i64], found: &[i64], labels: &[i64]) {
        let both = || expected.iter().zip(found);
        self.scored += both().count() as u64;
        self.agreed += both().filter(|(a, b)| a == b).count() as u64;
        for ((expected, found), label) in both().zip(labels) {
            self.labelled += 1;
            self.originally_right += u64::from(expected == label);
            self.right += u64::from(found == label);
        }
    }

    fn drift(&self, samples: u64) -> Drift {
        let error = (self.difference / self.norm.max(f64::MIN_POSITIVE)).sqrt();
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        Drift {
            samples,
            // JSON knows no infinity.
            output_error: if error.is_finite() { error } else { f64::MAX },
            agreement: share(self.agreed, self.scored),
            accuracy: share(self.right, self.labelled),
            original_accuracy: share(self.originally_right, self.labelled),
        }
    }
}

/// The class that is scored highest for each row, the first of equals; none where the output is not `[rows, classes]` up
/// to axes of size 1.
fn classes(output: &Tensor) -> Vec<i64> {
    let wide: Vec<usize> = output.shape.iter().skip(1).copied().filter(|size| *size != 1).collect();
    let ([classes], Ok(values)) = (wide.as_slice(), output.to_f32()) else { return Vec::new() };
    let highest = |row: &[f32]| {
        let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
        (0..row.len()).fold(0, better) as i64
    };
    values.chunks_exact((*classes).max(1)).map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_classes_are_added_up_over_batches() {
        let mut sums = Sums::default();
        let expected = Tensor::from_f32(&[2, 2, 1], &[3.0, 0.0, 0.0, 4.0]);
        let found = Tensor::from_f32(&[2, 2, 1], &[3.0, 0.0, 5.0, 4.0]);
        sums.compare(&expected, &found);
        sums.count(&classes(&expected), &classes(&found), &[0, 1]);
        let drift = sums.drift(2);
        assert_eq!(drift.output_error, 1.0);
        assert_eq!((drift.agreement, drift.accuracy, drift.original_accuracy), (Some(0.5), Some(0.5), Some(1.0)));
        assert_eq!(classes(&Tensor::from_f32(&[1, 2, 2], &[0.0; 4])), Vec::<i64>::new());
        assert_eq!(Sums::default().drift(1).accuracy, None);
    }
}
