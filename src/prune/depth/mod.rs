//! Whole residual blocks left out: those that change the stream they add to least. Shapes stay; the function does not, so
//! that the result is verified and its distance from the original measured.

mod block;
mod removal;
mod score;

use crate::cost;
use crate::onnx::model::Model;
use crate::spec::prune::Target;
use crate::spec::report::{BlockReport, PruneReport};

use super::allocate::AllocateError;
use super::names::Excluded;
use super::{PruneError, Pruned, Run};
use block::{Block, Blocks};
use score::Source;

/// What a target bounds, of a model.
type Figure<'f> = &'f dyn Fn(&Model) -> Result<u64, AllocateError>;

impl Run<'_> {
    /// Removes blocks, the least important first, until the target is met.
    ///
    /// Errors: the target is missed with all blocks gone, or the model does not run.
    pub(super) fn depth(&self) -> Result<Pruned, PruneError> {
        let exclude = Excluded::new(&self.spec.exclude, &self.spec.exclude_operators, self.graph)?;
        let Blocks { found, frozen } = block::blocks(self.graph, self.inferred, &exclude);
        let draws;
        let source = if let Some(calibration) = self.calibration {
            Source::Calibration(calibration)
        } else {
            draws = self.subject(self.model).draws()?;
            Source::Drawn(&draws)
        };
        let scores = score::scores(self.model, self.graph, self.inferred, &found, &source, self.threads)?;
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
        let (count, model) = self.shallowest(&found, &order, super::left_alone(&frozen))?;
        let gone = removed(&found, &order, count);
        let (certificate, output_error) = self.proved(&model)?;
        let report = self.report(&model, certificate);
        let report = PruneReport {
            criterion: "change of the stream".into(),
            removed: gone.len() as f64 / found.len().max(1) as f64,
            blocks: self.reported(&found, &scores, &gone),
            coverage_parameters: self.parameters_in(&found) as f64 / report.size_before.parameters.max(1) as f64,
            frozen,
            output_error,
            ..report
        };
        Ok(Pruned { model, plan: None, report, findings: Vec::new() })
    }

    /// The least number of blocks whose removal meets the target, and the model without them.
    fn shallowest(&self, found: &[Block<'_>], order: &[usize], because: String) -> Result<(usize, Model), PruneError> {
        let without = |count: usize| {
            let gone: Vec<&Block<'_>> = removed(found, order, count).into_iter().map(|at| &found[at]).collect();
            removal::without(self.model, self.graph, &gone).map_err(PruneError::from)
        };
        let most = removed(found, order, usize::MAX).len();
        let unreachable = |target: String, best: String| AllocateError::Unreachable { target, best, because };
        let (share, figure): (f64, Figure<'_>) = match self.spec.target {
            Target::BlocksRemoved(count) if count as usize <= most => {
                return Ok((count as usize, without(count as usize)?));
            }
            Target::BlocksRemoved(count) => {
                return Err(unreachable(format!("blocks_removed {count}"), most.to_string()).into());
            }
            Target::ParamsKept(share) => (share, &|model| Ok(cost::parameter_count(model))),
            Target::MacsKept(share) => {
                (share, &|model| cost::macs(model, &self.spec.example_shapes).map_err(AllocateError::MacsUnknown))
            }
            other => return Err(AllocateError::Unsuitable { target: other.name() }.into()),
        };
        let whole = figure(self.model)? as f64;
        let mut best = without(most)?;
        let least = figure(&best)? as f64;
        if least > share * whole {
            let best = format!("{:.4} with {most} blocks removed", least / whole.max(1.0));
            return Err(unreachable(format!("{} {share}", self.spec.target.name()), best).into());
        }
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low.midpoint(high);
            let tried = without(middle)?;
            if figure(&tried)? as f64 <= share * whole {
                (best, high) = (tried, middle);
            } else {
                low = middle + 1;
            }
        }
        Ok((high, best))
    }

    fn reported(&self, found: &[Block<'_>], scores: &[f64], gone: &[usize]) -> Vec<BlockReport> {
        let report = |(at, block): (usize, &Block<'_>)| BlockReport {
            name: block.sum.to_owned(),
            shortcut: block.shortcut.to_owned(),
            operators: block.nodes.len() as u64 + 1,
            parameters: self.parameters_in(std::slice::from_ref(block)),
            // JSON knows no infinity.
            change: Some(scores[at]).filter(|score| score.is_finite()),
            removed: gone.contains(&at),
        };
        found.iter().enumerate().map(report).collect()
    }

    /// Parameters that nodes of the blocks use, each constant once.
    fn parameters_in(&self, blocks: &[Block<'_>]) -> u64 {
        let nodes = blocks.iter().flat_map(|block| &block.nodes).map(|index| self.graph.node(*index));
        let mut names: Vec<&str> = nodes.flat_map(|node| node.input.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        let tensors = names.into_iter().filter_map(|name| self.graph.constant(name)?.ok());
        tensors.filter(|tensor| cost::is_parameter(tensor.dtype)).map(|tensor| tensor.len() as u64).sum()
    }
}

/// The first `count` blocks of the order, without those that lie in one that went before them.
fn removed(found: &[Block<'_>], order: &[usize], count: usize) -> Vec<usize> {
    let mut gone: Vec<usize> = Vec::new();
    for at in order {
        if gone.len() == count {
            break;
        }
        if !gone.iter().any(|other| found[*other].nodes.binary_search(&found[*at].add).is_ok()) {
            gone.push(*at);
        }
    }
    gone
}
