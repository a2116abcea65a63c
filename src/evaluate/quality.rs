//! Running a classifier over a dataset.

use super::metrics::Tally;
use super::{EvaluateError, scores};
use crate::data::{Batch, Dataset, Reader, prefetched};
use crate::engine::{Engine, SessionOptions};
use crate::onnx::model::Model;
use crate::spec::evaluate::EvaluateSpec;
use crate::spec::observer::Observer;
use crate::spec::report::Quality;

/// How models are scored.
#[derive(Clone, Copy)]
pub(super) struct Scoring<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) dataset: &'a Dataset,
    pub(super) spec: &'a EvaluateSpec,
    pub(super) threads: usize,
}

/// A model's figures with the class that each sample was taken for.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub(super) quality: Quality,
    pub(super) predictions: Vec<u32>,
}

impl Scoring<'_> {
    /// Runs the model over all samples. Batches are prepared while the one before is computed on; the last one is filled
    /// up with copies of its last sample where the model's batch is fixed.
    pub(super) fn score(
        &self,
        model: &Model,
        observer: &dyn Observer,
        progress: &dyn Fn(f64),
    ) -> Result<Scored, EvaluateError> {
        if self.dataset.labels().is_none() {
            return Err(EvaluateError::NoLabels);
        }
        let reader = Reader::new(self.dataset, model)?;
        let mut session = self.engine.load(model, &SessionOptions::with_threads(self.threads))?;
        let output = position(session.output_names(), self.spec.output.as_deref())?;
        let name = session.output_names()[output].clone();
        let meaning = scores::meaning(model, &name);
        let samples: Vec<usize> = (0..self.dataset.len()).collect();
        let size = reader.fixed_batch().unwrap_or(self.spec.batch_size as usize).max(1);
        let lists: Vec<Vec<usize>> = samples.chunks(size).map(<[usize]>::to_vec).collect();
        let mut tally: Option<Tally> = None;
        let mut done = 0;
        let prepare = |list: &[usize]| filled(&reader, list, size);
        prefetched(&lists, prepare, |batch| -> Result<(), EvaluateError> {
            if observer.should_stop() {
                return Err(EvaluateError::Interrupted);
            }
            let outputs = session.run(&batch.feeds())?;
            let count = size.min(samples.len() - done);
            let rows = batch.labels.len();
            let found = scores::read(&name, &outputs[output], rows, count, meaning).map_err(|error| at(error, done))?;
            let labels = &batch.labels[..count];
            if let Some(sample) = labels.iter().position(|label| *label as usize >= found.classes) {
                return Err(EvaluateError::LabelBeyondClasses {
                    sample: done + sample,
                    label: labels[sample],
                    output: name.clone(),
                    classes: found.classes,
                });
            }
            let tally = tally.get_or_insert_with(|| Tally::new(found.classes, self.spec.top_k, meaning));
            tally.add(&found, labels);
            done += count;
            progress(done as f64 / samples.len() as f64);
            Ok(())
        })?;
        // A dataset that could be opened has samples, so that there was a batch.
        let tally = tally.unwrap_or_else(|| Tally::new(0, 1, meaning));
        Ok(Scored { quality: tally.quality(self.dataset.class_names()), predictions: tally.predictions })
    }
}

/// The samples of a list, filled up to a fixed batch.
fn filled(reader: &Reader<'_>, list: &[usize], size: usize) -> Result<Batch, crate::data::DataError> {
    match (reader.fixed_batch(), list.last()) {
        (Some(_), Some(last)) if list.len() < size => {
            let mut full = list.to_vec();
            full.resize(size, *last);
            reader.batch(&full)
        }
        _ => reader.batch(list),
    }
}

/// The scored output: the named one, else the first.
fn position(outputs: &[String], wanted: Option<&str>) -> Result<usize, EvaluateError> {
    let found = match wanted {
        Some(name) => outputs.iter().position(|output| output == name),
        None => (!outputs.is_empty()).then_some(0),
    };
    found.ok_or_else(|| EvaluateError::NoSuchOutput {
        name: wanted.unwrap_or_default().to_owned(),
        found: outputs.iter().map(|output| format!("`{output}`")).collect::<Vec<_>>().join(", "),
    })
}

/// A row of a batch becomes a sample of the dataset.
fn at(error: EvaluateError, first: usize) -> EvaluateError {
    match error {
        EvaluateError::NotFinite { output, sample } => EvaluateError::NotFinite { output, sample: first + sample },
        other => other,
    }
}
