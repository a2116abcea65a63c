//! Single weights set to zero: the smallest go, of all weights, of each tensor, or of each run of `m` along the axis that
//! is summed over (N:M). The tensors keep their shapes.

#[cfg(test)]
mod real_models;
mod select;
mod weight;

use bytes::Bytes;

use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::spec::prune::{NOfM, Scope, Target};
use crate::spec::report::{Frozen, PruneReport};

use super::allocate::AllocateError;
use super::importance::{Elements, Scoring};
use super::names::Excluded;
use super::surgery::replace_constant;
use super::untouched::untouched;
use super::{PruneError, Pruned, Run};
use weight::Weight;

/// What runtimes make of zeros: said in every report, because the sizes suggest otherwise.
const NO_FASTER: &str = "zeros make the file smaller, in sparse form or compressed; ONNX Runtime runs them at full cost, so \
                         that the model is no faster";

/// Which weights become zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Zeros {
    /// At least this share of all weights, or of each tensor.
    Share { share: f64, scope: Scope },
    /// A pattern in every run.
    Pattern(NOfM),
}

/// A model with zeros.
#[derive(Clone, Debug)]
pub struct Sparse {
    pub model: Model,
    /// Weights that could go.
    pub prunable: u64,
    /// Weights that are zero now, those that were before included.
    pub zeros: u64,
    /// Matrices that were left alone.
    pub frozen: Vec<Frozen>,
    /// What was done otherwise than asked for, each a sentence.
    pub notes: Vec<String>,
}

impl Run<'_> {
    /// Sets weights to zero and verifies that the model still runs.
    pub(super) fn unstructured(&self) -> Result<Pruned, PruneError> {
        let zeros = match self.spec.target {
            Target::Sparsity(share) => Zeros::Share { share, scope: self.spec.scope },
            Target::NOfM(pattern) => Zeros::Pattern(pattern),
            other => return Err(AllocateError::Unsuitable { target: other.name() }.into()),
        };
        let mut sparse = self.sparsify(zeros)?;
        let reached = sparse.zeros as f64 / sparse.prunable.max(1) as f64;
        let (wanted, target) = match zeros {
            Zeros::Share { share, .. } => (share, format!("sparsity {share}")),
            Zeros::Pattern(pattern) => (1.0 - pattern.kept() as f64 / pattern.run() as f64, pattern.to_string()),
        };
        if reached + 1e-9 < wanted {
            let because = super::left_alone(&sparse.frozen);
            return Err(AllocateError::Unreachable { target, best: format!("{reached:.4}"), because }.into());
        }
        let (certificate, output_error) = self.proved(&sparse.model)?;
        sparse.notes.push(NO_FASTER.into());
        let report = self.report(&sparse.model, certificate);
        let report = PruneReport {
            removed: reached,
            coverage_parameters: sparse.prunable as f64 / report.size_before.parameters.max(1) as f64,
            frozen: sparse.frozen,
            output_error,
            notes: sparse.notes,
            ..report
        };
        Ok(Pruned { model: sparse.model, plan: None, report, findings: Vec::new() })
    }

    /// Sets weights of convolutions, matrix products and recurrent layers to zero, those that score least first, ties by
    /// tensor and position. A weight is found behind operators that only hand it on. Excluded constants stay, and so do
    /// those whose runs do not fit a pattern.
    ///
    /// Errors: a weight that cannot be read or is not a number, or what the criterion looks at is not there.
    fn sparsify(&self, zeros: Zeros) -> Result<Sparse, PruneError> {
        let graph = self.graph;
        let exclude = Excluded::new(&self.spec.exclude, &self.spec.exclude_operators, graph)?;
        let mut weights = weight::weights(graph, &exclude)?;
        let mut frozen = Vec::new();
        let mut axes = Vec::new();
        if let Zeros::Pattern(pattern) = zeros {
            weights.retain(|weight| match weight.axis_of_runs(graph, pattern.run()) {
                Ok(axis) => {
                    axes.push(axis);
                    true
                }
                Err(reason) => {
                    let operator = weight.user(graph);
                    frozen.push(Frozen { what: weight.name.to_owned(), operator, reason });
                    false
                }
            });
        }
        let elements: Vec<Elements<'_>> = weights.iter().map(|weight| self.elements(weight)).collect();
        let scores = Scoring::of(self.spec).of_weights(&elements, self.evidence().as_ref())?;
        let keys = &scores.of_weights;
        let goes: Vec<Vec<bool>> = match zeros {
            Zeros::Share { share, scope: Scope::Local } => {
                weights.iter().zip(keys).map(|(weight, keys)| self.local(weight, keys, share)).collect()
            }
            Zeros::Share { share, .. } => apart(&select::lowest(&keys.concat(), share), &weights),
            Zeros::Pattern(pattern) => (weights.iter().zip(keys).zip(&axes))
                .map(|((weight, keys), axis)| select::pattern(keys, &weight.tensor.shape, *axis, pattern))
                .collect(),
        };
        let mut sparse = self.model.clone();
        let mut count = 0;
        for (weight, goes) in weights.iter().zip(&goes) {
            let width = weight.tensor.dtype.bits() / 8;
            let mut data = weight.tensor.data.to_vec();
            for at in (0..goes.len()).filter(|at| goes[*at]) {
                data[at * width..(at + 1) * width].fill(0);
            }
            count += weight.values.iter().zip(goes).filter(|(value, goes)| **goes || **value == 0.0).count() as u64;
            replace_constant(&mut sparse, weight.name, &Tensor { data: Bytes::from(data), ..weight.tensor.clone() })?;
        }
        let prunable = weights.iter().map(|weight| weight.values.len() as u64).sum();
        let pruned: Vec<&str> = weights.iter().map(|weight| weight.name).collect();
        frozen.extend(untouched(graph, &pruned, &frozen, &exclude));
        Ok(Sparse { zeros: count, prunable, frozen, model: sparse, notes: scores.notes })
    }

    fn elements<'w>(&'w self, weight: &'w Weight<'_>) -> Elements<'w> {
        Elements {
            name: weight.name,
            shape: &weight.tensor.shape,
            values: &weight.values,
            operands: weight.operands(self.graph, self.inferred),
        }
    }

    /// What goes of one tensor: the lowest of all its weights or, where the criterion's paper says so, of each output.
    fn local(&self, weight: &Weight<'_>, keys: &[f64], share: f64) -> Vec<bool> {
        let outputs = if self.spec.criterion.compares_within_outputs() { weight.outputs(self.graph) } else { None };
        match outputs {
            Some(outputs) => select::lowest_of_each(keys, &outputs, share),
            None => select::lowest(keys, share),
        }
    }
}

/// One list for all weights as a list for each.
fn apart<T: Clone>(all: &[T], weights: &[Weight<'_>]) -> Vec<Vec<T>> {
    let mut rest = all;
    let mut lists = Vec::with_capacity(weights.len());
    for weight in weights {
        let (list, behind) = rest.split_at(weight.values.len());
        lists.push(list.to_vec());
        rest = behind;
    }
    lists
}
