//! How good, how fast and how large a model is, beside the model it came from.
//!
//! Quality is a classifier's: scores in one output, one class a sample. Latency of both models is measured in turns within
//! one stretch of time, so that whatever else the machine does meets both.

mod error;
mod latency;
mod metrics;
mod quality;
mod scores;

use crate::cost::{ExampleShapes, size};
use crate::data::Dataset;
use crate::engine::Engine;
use crate::onnx::model::Model;
use crate::spec::evaluate::EvaluateSpec;
use crate::spec::observer::Observer;
use crate::spec::report::{EvaluateReport, Measured};

pub use error::EvaluateError;
use latency::Contest;
use quality::Scoring;

/// What is to be evaluated, and how.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    pub engine: &'a dyn Engine,
    pub candidate: &'a Model,
    /// What the candidate is held against.
    pub baseline: Option<&'a Model>,
    /// Without one there is no quality, and latency is measured on random inputs.
    pub dataset: Option<&'a Dataset>,
    pub spec: &'a EvaluateSpec,
    /// Threads while quality is measured; the spec says those of the latency.
    pub threads: usize,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    pub report: EvaluateReport,
    /// What could not be measured and why, each a sentence.
    pub findings: Vec<String>,
}

impl std::fmt::Debug for Evaluation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluation")
            .field("engine", &self.engine.name())
            .field("spec", self.spec)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Evaluation<'_> {
    /// Measures everything. `progress` is told the share that is done.
    ///
    /// Errors: [`EvaluateError::Interrupted`] soon after `observer.should_stop()`; else what does not work.
    pub fn run(&self, observer: &dyn Observer, progress: &dyn Fn(f64)) -> Result<Evaluated, EvaluateError> {
        let (mut candidate, mut baseline) = (sized(self.candidate), self.baseline.map(sized));
        let mut findings = Vec::new();
        let latency_share = match (&self.spec.latency, self.dataset) {
            (None, _) => 0.0,
            (Some(_), Some(_)) => 0.3,
            (Some(_), None) => 1.0,
        };
        match self.dataset {
            Some(dataset) => {
                let steps = if self.baseline.is_some() { 2.0 } else { 1.0 };
                let share = (1.0 - latency_share) / steps;
                let score = |model: &Model, from: f64| {
                    let scoring = Scoring { engine: self.engine, dataset, spec: self.spec, threads: self.threads };
                    scoring.score(model, observer, &|fraction| progress(from + share * fraction))
                };
                let reference = self.baseline.map(|model| score(model, 0.0)).transpose()?;
                let mut scored = score(self.candidate, share * (steps - 1.0))?;
                if let (Some(reference), Some(baseline)) = (reference, &mut baseline) {
                    scored.quality.agreement = Some(metrics::agreement(&scored.predictions, &reference.predictions));
                    baseline.quality = Some(reference.quality);
                }
                if scored.quality.per_class.len() > metrics::LARGEST_MATRIX {
                    findings.push(format!(
                        "the report has no confusion matrix: there are {} classes, more than {}",
                        scored.quality.per_class.len(),
                        metrics::LARGEST_MATRIX
                    ));
                }
                candidate.quality = Some(scored.quality);
            }
            None => findings.push("quality was not measured: the step has no dataset".to_owned()),
        }
        if let Some(spec) = &self.spec.latency {
            let models: Vec<&Model> = std::iter::once(self.candidate).chain(self.baseline).collect();
            let contest = Contest { engine: self.engine, models: &models, dataset: self.dataset, spec };
            let report = &|fraction| progress(1.0 - latency_share * (1.0 - fraction));
            let mut timings = contest.run(observer, report, &mut findings)?.into_iter();
            candidate.latency = timings.next().unwrap_or_default();
            if let Some(baseline) = &mut baseline {
                baseline.latency = timings.next().unwrap_or_default();
            }
        }
        progress(1.0);
        Ok(Evaluated { report: EvaluateReport { baseline, candidate }, findings })
    }
}

fn sized(model: &Model) -> Measured {
    Measured { size: size(model, &ExampleShapes::new()), ..Measured::default() }
}

#[cfg(test)]
mod tests;
