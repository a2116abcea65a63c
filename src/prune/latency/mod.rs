//! How long a model takes on ONNX Runtime on this machine: predicted from a table of its parts, and measured whole.
//!
//! A model is taken apart ([`part`]) into pieces that the runtime works on much as it does within the whole: a layer and
//! what follows it up to the next. Parts of the same operators, attributes and shapes take the same time ([`signature`]),
//! so that one that was timed once is known from then on ([`crate::cost::LatencyTable`]). The sum of the parts differs from
//! the whole by what their borders cost; it is scaled by what the whole original took over the sum of its parts.
//!
//! Times are those of batch 1, or the batch that the model has fixed. Knows nothing of what is cut.

mod part;
pub mod search;
mod signature;
mod timing;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};

use crate::cost::inputs::{Feeds, Inputs};
use crate::cost::{ExampleShapes, Host, LatencyTable, Quiet};
use crate::engine::{Engine, EngineError, OnnxRuntime, SessionOptions, onnx_runtime};
use crate::onnx::bodies;
use crate::onnx::model::Model;

#[cfg(test)]
pub use part::parts;
use timing::{PARTS, Runner, Times, WHOLE};

/// Why a time is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatencyError {
    #[error("latency cannot be measured: {0}")]
    Engine(#[from] EngineError),
    #[error("latency cannot be measured: {0}")]
    Inputs(String),
}

/// Measures models that take the inputs of one original.
pub struct Clock<'a> {
    runtime: &'static OnnxRuntime,
    options: SessionOptions,
    feeds: Feeds,
    table: RefCell<LatencyTable>,
    /// What the whole original took over the sum of its parts.
    scale: Cell<f64>,
    timed: Cell<u64>,
    known: Cell<u64>,
    quiet: Quiet<'a>,
}

impl std::fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Two models, measured in turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Race {
    pub before: Times,
    pub after: Times,
}

impl<'a> Clock<'a> {
    /// Asks for the machine, and measures the original whole and in parts.
    ///
    /// Errors: the runtime does not run it, or its inputs cannot be drawn: open axes need an example.
    pub fn new(
        original: &Model,
        examples: &ExampleShapes,
        threads: usize,
        host: &'a Host,
    ) -> Result<Self, LatencyError> {
        let runtime = onnx_runtime()?;
        let (graph, inferred) = (original.graph(), crate::onnx::shape::infer(original));
        let inputs = Inputs::new(&graph, &inferred, examples);
        if let Some(axis) = inputs.open_axes().first() {
            return Err(LatencyError::Inputs(format!("the size of axis `{axis}` is open: give `example_shapes`")));
        }
        let batch = if inputs.batch_is_free() { 1 } else { inputs.fixed_batch() };
        let feeds = inputs.draw(batch, 1, SEED).map_err(LatencyError::Inputs)?;
        let version = runtime.version().unwrap_or_else(|| "of unknown version".into());
        let quiet = host.quiet();
        let clock = Self {
            runtime,
            options: SessionOptions::with_threads(threads),
            feeds,
            table: RefCell::new(host.table(&format!("ONNX Runtime {version}, threads: {threads}"))),
            scale: Cell::new(1.0),
            timed: Cell::new(0),
            known: Cell::new(0),
            quiet,
        };
        let sum_ns = clock.predict(original)?;
        let whole_ns: f64 = clock.whole(&[original])?.iter().map(|times| times.p50).sum();
        clock.scale.set(whole_ns / sum_ns);
        Ok(clock)
    }

    /// Threads of the runtime.
    pub fn threads(&self) -> usize {
        self.options.threads
    }

    /// What a model should take, in nanoseconds. Parts that are not in the table are timed.
    pub fn predict(&self, model: &Model) -> Result<f64, LatencyError> {
        let shapes: BTreeMap<String, Vec<i64>> = (self.feeds.iter())
            .map(|(name, tensor)| (name.clone(), tensor.shape.iter().map(|size| *size as i64).collect()))
            .collect();
        let inferred = crate::onnx::shape::infer_with(model, &shapes);
        let parts = part::parts(model, &inferred, &self.feeds);
        let signatures: Vec<String> = parts.iter().map(signature::of).collect();
        let mut table = self.table.borrow_mut();
        let mut missing = HashSet::new();
        let (unknown, runners): (Vec<&String>, Vec<_>) = (signatures.iter().zip(parts))
            .filter(|(signature, _)| table.get(signature).is_none() && missing.insert((*signature).clone()))
            .map(|(signature, part)| (signature, self.runner(&part.model, part.feeds)))
            .unzip();
        let runners = runners.into_iter().collect::<Result<Vec<_>, _>>()?;
        let times = timing::in_turns(runners, &PARTS)?;
        let keep = self.quiet.is_alone();
        for (signature, times) in unknown.iter().zip(&times) {
            // The quickest run: what disturbs a run only ever adds to it.
            table.insert((*signature).clone(), times.least, keep);
        }
        table.save();
        self.timed.set(self.timed.get() + times.len() as u64);
        self.known.set(self.known.get() + (signatures.len() - times.len()) as u64);
        let sum: f64 = signatures.iter().filter_map(|signature| table.get(signature)).sum();
        Ok(sum * self.scale.get())
    }

    /// Two whole models in turns; the second is a cut of the original.
    pub fn race(&self, before: &Model, after: &Model) -> Result<Race, LatencyError> {
        let mut times = self.whole(&[before, after])?;
        let after = times.remove(1);
        Ok(Race { before: times.remove(0), after })
    }

    /// Parts that were timed, and parts whose time was known.
    pub fn parts(&self) -> (u64, u64) {
        (self.timed.get(), self.known.get())
    }

    /// Whether no other attempt was at work on the machine.
    pub fn is_undisturbed(&self) -> bool {
        self.quiet.is_alone()
    }

    fn whole(&self, models: &[&Model]) -> Result<Vec<Times>, LatencyError> {
        let runners = models.iter().map(|model| self.runner(model, self.feeds.clone())).collect::<Result<_, _>>()?;
        Ok(timing::in_turns(runners, &WHOLE)?)
    }

    fn runner(&self, model: &Model, feeds: Feeds) -> Result<Runner, EngineError> {
        Ok(Runner::new(self.runtime.load(&bodies::fold(model), &self.options)?, feeds))
    }
}

/// Seed of the inputs: what they hold does not matter for the time.
const SEED: u64 = 1;
