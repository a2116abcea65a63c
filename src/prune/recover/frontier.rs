//! How far calibration samples have come through a model: the values that lie between the nodes behind and those ahead.
//!
//! A repair that goes through a model from its inputs needs the values before each layer, on all samples. Running the
//! model from the start for each layer would cost the square of its depth; keeping every value would cost its whole memory.
//! So the values that cross from one part to the other are kept, where they fit into a bound, and otherwise what lies
//! before them is run again.

use std::borrow::Cow;

use crate::data::{Batch, DataError, Samples};
use crate::onnx::graph::{Graph, outer_names};
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::observe::{ObserveError, Probe};

/// Values that are kept, over all samples, of one model. Two models are followed at a time.
const KEPT_BYTES: usize = 512 << 20;

/// The values of all batches before some node.
#[derive(Debug)]
pub struct Frontier<'c> {
    samples: Samples<'c>,
    inferred: &'c Inferred,
    threads: usize,
    names: Vec<String>,
    /// The values of `names`, batch by batch; empty as long as the samples themselves are where a run starts.
    kept: Vec<Vec<Tensor>>,
}

impl<'c> Frontier<'c> {
    /// Starts at the inputs.
    pub fn new(samples: Samples<'c>, inferred: &'c Inferred, threads: usize) -> Self {
        Self { samples, inferred, threads, names: Vec::new(), kept: Vec::new() }
    }

    /// Goes on to just before the node at `index`, if the values there fit into the bound. Nodes before it must not change
    /// any more.
    pub fn advance(&mut self, model: &Model, index: usize) -> Result<(), ObserveError> {
        let names = crossing(&model.graph(), index);
        if names == self.names || names.iter().any(|name| self.inferred.dtype(name).is_none()) {
            return Ok(());
        }
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for values in self.run(model, &wanted)? {
            let values = values?;
            bytes += values.iter().map(|value| value.data.len()).sum::<usize>();
            if bytes > KEPT_BYTES {
                return Ok(());
            }
            kept.push(values);
        }
        (self.names, self.kept) = (names, kept);
        Ok(())
    }

    /// Runs from here to the wanted values, which do not lie behind: one list of them a batch.
    pub fn run<'f>(&'f self, model: &Model, wanted: &[&str]) -> Result<Run<'f>, ObserveError> {
        let at = |name: &&str| self.names.iter().position(|kept| kept == name);
        let computed: Vec<&str> = wanted.iter().copied().filter(|name| at(name).is_none()).collect();
        let given: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let probe = if computed.is_empty() {
            None
        } else {
            Some(Probe::new(model, self.inferred, &given, &computed, self.threads)?)
        };
        let start: Start<'f> = if self.names.is_empty() {
            Start::Samples(Box::new(self.samples.batches()))
        } else {
            Start::Kept(self.kept.iter())
        };
        Ok(Run { probe, sources: wanted.iter().map(at).collect(), names: given, start })
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.samples.count()
    }
}

/// A run over all batches.
pub struct Run<'f> {
    probe: Option<Probe>,
    /// For each wanted value its place among those that are kept; `None` where it is computed.
    sources: Vec<Option<usize>>,
    names: Vec<&'f str>,
    start: Start<'f>,
}

/// Where a run starts.
enum Start<'f> {
    Samples(Box<dyn Iterator<Item = Result<Cow<'f, Batch>, DataError>> + 'f>),
    Kept(std::slice::Iter<'f, Vec<Tensor>>),
}

impl Iterator for Run<'_> {
    type Item = Result<Vec<Tensor>, ObserveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut compute =
            |feeds: &[(&str, &Tensor)]| self.probe.as_mut().map_or(Ok(Vec::new()), |probe| probe.run(feeds));
        let (computed, kept): (_, &[Tensor]) = match &mut self.start {
            Start::Samples(batches) => match batches.next()? {
                Ok(batch) => (compute(&batch.feeds()), &[]),
                Err(error) => return Some(Err(error.into())),
            },
            Start::Kept(kept) => {
                let kept = kept.next()?;
                let feeds: Vec<(&str, &Tensor)> = self.names.iter().copied().zip(kept).collect();
                (compute(&feeds), kept)
            }
        };
        let mut computed = match computed {
            Ok(values) => values.into_iter(),
            Err(error) => return Some(Err(error)),
        };
        let value = |source: &Option<usize>| match source {
            Some(at) => Some(kept[*at].clone()),
            None => computed.next(),
        };
        Some(Ok(self.sources.iter().filter_map(value).collect()))
    }
}

/// What nodes from `index` on read of what is there before: inputs, and results of earlier nodes that are no constants.
fn crossing(graph: &Graph<'_>, index: usize) -> Vec<String> {
    let is_behind = |name: &str| match graph.producer(name) {
        Some((node, _)) => node < index && !graph.node(node).is("Constant"),
        None => graph.is_input(name),
    };
    let mut names: Vec<String> = Vec::new();
    for node in graph.proto.node.iter().skip(index) {
        let inner: Vec<&str> = node.subgraphs().flat_map(outer_names).collect();
        for name in node.input.iter().map(String::as_str).chain(inner) {
            if is_behind(name) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}
