//! How long models take, measured in turns.
//!
//! Of all models of one contest the one runs next that has run for the least time so far, until each has had its time:
//! a busy moment of the machine meets all of them. Threads of the runtime do not wait in busy loops, since an idle model's
//! threads would then slow the other model down.

use std::time::{Duration, Instant};

use super::EvaluateError;
use crate::cost::ExampleShapes;
use crate::cost::inputs::Inputs;
use crate::data::{Dataset, Reader};
use crate::engine::{Engine, Session, SessionOptions};
use crate::onnx::model::Model;
use crate::onnx::shape;
use crate::onnx::tensor::Tensor;
use crate::spec::evaluate::LatencySpec;
use crate::spec::observer::Observer;
use crate::spec::report::Latency;

/// Runs of each model before the clock counts, and share of the time that they may take at least.
const WARM_UP_RUNS: u64 = 3;
const WARM_UP_SHARE: f64 = 0.1;
/// Runs that are timed at least, however long they take.
const FEWEST_RUNS: usize = 5;
/// Seed of random inputs.
const SEED: u64 = 1;

/// Models whose latency is compared.
#[derive(Clone, Copy)]
pub(super) struct Contest<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) models: &'a [&'a Model],
    /// Where inputs come from; random ones without.
    pub(super) dataset: Option<&'a Dataset>,
    pub(super) spec: &'a LatencySpec,
}

/// A model on the track.
struct Runner {
    session: Box<dyn Session>,
    feeds: Vec<(String, Tensor)>,
    batch: usize,
    times: Vec<f64>,
    total: f64,
}

impl Contest<'_> {
    /// The figures of each model, one entry a batch size.
    pub(super) fn run(
        &self,
        observer: &dyn Observer,
        progress: &dyn Fn(f64),
        findings: &mut Vec<String>,
    ) -> Result<Vec<Vec<Latency>>, EvaluateError> {
        let mut figures = vec![Vec::new(); self.models.len()];
        let rounds = self.spec.batch_sizes.len() as f64;
        for (round, batch) in self.spec.batch_sizes.iter().enumerate() {
            let mut runners = Vec::with_capacity(self.models.len());
            for model in self.models {
                match self.runner(model, *batch as usize)? {
                    Ok(runner) => runners.push(runner),
                    Err(reason) => {
                        findings.push(format!("latency was not measured: {reason}"));
                        return Ok(vec![Vec::new(); self.models.len()]);
                    }
                }
            }
            self.race(&mut runners, observer, &|share| progress((round as f64 + share) / rounds))?;
            for (figures, runner) in figures.iter_mut().zip(&mut runners) {
                figures.push(self.figures(runner));
            }
        }
        // A batch that is fixed is measured once, however many sizes were asked for.
        for figures in &mut figures {
            let mut seen = Vec::new();
            figures.retain(|entry| {
                !seen.contains(&entry.batch_size) && {
                    seen.push(entry.batch_size);
                    true
                }
            });
        }
        Ok(figures)
    }

    /// A session with inputs of its own; the inner error says why there are no inputs.
    fn runner(&self, model: &Model, batch: usize) -> Result<Result<Runner, String>, EvaluateError> {
        let (feeds, batch) = match self.dataset {
            Some(dataset) => {
                let reader = Reader::new(dataset, model)?;
                let batch = reader.fixed_batch().unwrap_or(batch);
                let samples: Vec<usize> = (0..batch).map(|place| place % dataset.len()).collect();
                (reader.batch(&samples)?.inputs, batch)
            }
            None => match random_inputs(model, batch) {
                Ok(drawn) => drawn,
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let options = SessionOptions::with_threads(self.spec.threads as usize);
        let session = self.engine.load(model, &options)?;
        Ok(Ok(Runner { session, feeds, batch, times: Vec::new(), total: 0.0 }))
    }

    fn race(
        &self,
        runners: &mut [Runner],
        observer: &dyn Observer,
        progress: &dyn Fn(f64),
    ) -> Result<(), EvaluateError> {
        let warm_up = Duration::from_secs_f64(self.spec.seconds * WARM_UP_SHARE);
        for runner in &mut *runners {
            let start = Instant::now();
            let mut runs = 0;
            while runs < WARM_UP_RUNS || start.elapsed() < warm_up {
                if observer.should_stop() {
                    return Err(EvaluateError::Interrupted);
                }
                runner.step()?;
                runs += 1;
            }
            runner.times.clear();
            runner.total = 0.0;
        }
        let seconds = self.spec.seconds;
        let done = |runner: &Runner| runner.total >= seconds && runner.times.len() >= FEWEST_RUNS;
        let mut told = Instant::now();
        while let Some(next) =
            runners.iter_mut().filter(|runner| !done(runner)).min_by(|a, b| a.total.total_cmp(&b.total))
        {
            if observer.should_stop() {
                return Err(EvaluateError::Interrupted);
            }
            next.step()?;
            if told.elapsed() > Duration::from_millis(200) {
                told = Instant::now();
                let shares = runners.iter().map(|runner| (runner.total / seconds).min(1.0));
                progress(shares.sum::<f64>() / runners.len() as f64);
            }
        }
        Ok(())
    }

    fn figures(&self, runner: &mut Runner) -> Latency {
        runner.times.sort_by(f64::total_cmp);
        let milliseconds = |seconds: f64| seconds * 1e3;
        Latency {
            engine: self.engine.name().to_owned(),
            batch_size: runner.batch as u32,
            threads: self.spec.threads,
            runs: runner.times.len() as u64,
            p50_ms: milliseconds(quantile(&runner.times, 0.50)),
            p90_ms: milliseconds(quantile(&runner.times, 0.90)),
            p99_ms: milliseconds(quantile(&runner.times, 0.99)),
            mean_ms: milliseconds(runner.total / runner.times.len().max(1) as f64),
            throughput_per_second: (runner.times.len() * runner.batch) as f64 / runner.total.max(f64::MIN_POSITIVE),
        }
    }
}

impl Runner {
    fn step(&mut self) -> Result<(), EvaluateError> {
        let feeds: Vec<(&str, &Tensor)> = self.feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let start = Instant::now();
        let outputs = self.session.run(&feeds)?;
        let seconds = start.elapsed().as_secs_f64();
        drop(outputs);
        self.times.push(seconds);
        self.total += seconds;
        Ok(())
    }
}

/// Inputs drawn as their meaning demands, and their batch.
///
/// Errors: why there are none.
fn random_inputs(model: &Model, batch: usize) -> Result<(Vec<(String, Tensor)>, usize), String> {
    let (graph, inferred, examples) = (model.graph(), shape::infer(model), ExampleShapes::new());
    let inputs = Inputs::new(&graph, &inferred, &examples);
    let batch = if inputs.batch_is_free() { batch as u64 } else { inputs.fixed_batch() };
    if let Some(axis) = inputs.open_axes().first() {
        return Err(format!("the size of the axis `{axis}` is open; evaluate with a dataset"));
    }
    Ok((inputs.draw(batch, 1, SEED)?, batch as usize))
}

/// The smallest value that at least this share of the sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let sorted: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!([0.5, 0.9, 0.99].map(|share| quantile(&sorted, share)), [5.0, 9.0, 10.0]);
        assert_eq!(quantile(&[4.0], 0.5), 4.0);
    }
}
