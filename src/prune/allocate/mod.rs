//! From scores and a target to the units that go.
//!
//! Units are put in one order of removal; a selection is a beginning of that order, rounded up. Selections are therefore
//! nested: a stricter target removes a superset. Ties are broken by index. No group gives more than its floor allows.

mod budget;
mod widths;

use std::collections::BTreeMap;

pub use budget::Budget;
pub use widths::{Rounding, Selection};

use crate::spec::prune::{Scope, Target};

use super::coupling::Coupling;

/// Why no selection was made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AllocateError {
    #[error("the target {target} cannot be reached; the best that is possible is {best}{because}")]
    Unreachable { target: String, best: String, because: String },
    #[error("the multiply-accumulates cannot be counted: {0}")]
    MacsUnknown(String),
}

/// What a selection is made from.
#[derive(Debug)]
pub struct Allocation<'a> {
    pub coupling: &'a Coupling,
    /// One score a unit, comparable across groups.
    pub scores: &'a [f64],
    pub scope: Scope,
    pub rounding: &'a Rounding,
    /// Multiply-accumulates; the reason where they cannot be counted.
    pub macs: &'a Result<Budget, String>,
    pub parameters: &'a Budget,
}

/// Share of its units that every group keeps at least, so that a layer that scores low as a whole does not collapse and
/// cut the network in two; below it accuracy falls off a cliff that retraining does not climb. Strict targets lower it to
/// half of the share that they leave on average.
const FLOOR: f64 = 0.1;

impl Allocation<'_> {
    /// The smallest selection that meets the target after rounding.
    ///
    /// Errors: [`AllocateError::Unreachable`] with the best possible.
    pub fn select(&self, target: Target) -> Result<Selection, AllocateError> {
        let whole = Selection::none(self.coupling);
        let order = self.order(floor(target));
        let measure = self.measure(target, &whole)?;
        let selection = |count: usize| {
            let mut selection = whole.clone();
            order[..count].iter().for_each(|unit| selection.remove(self.coupling, *unit));
            self.rounding.round_up(self.coupling, &mut selection);
            selection
        };
        let (mut low, mut high) = (0, order.len());
        let most = selection(high);
        if !measure.is_met(&most) || (order.is_empty() && measure.wants_something()) {
            return Err(measure.unreachable(&most, self.coupling));
        }
        let mut best = most;
        while low < high {
            let middle = low.midpoint(high);
            let tried = selection(middle);
            if measure.is_met(&tried) {
                (best, high) = (tried, middle);
            } else {
                low = middle + 1;
            }
        }
        Ok(best)
    }

    /// The units in the order in which they go, as far as they may.
    fn order(&self, floor: f64) -> Vec<usize> {
        let mut keys = self.scores.to_vec();
        if self.scope == Scope::Local {
            for group in &self.coupling.groups {
                let mut ranked: Vec<usize> = group.units.clone().collect();
                ranked.sort_by(|a, b| self.scores[*a].total_cmp(&self.scores[*b]).then(a.cmp(b)));
                let count = ranked.len() as f64;
                ranked.iter().enumerate().for_each(|(rank, unit)| keys[*unit] = (rank + 1) as f64 / count);
            }
        }
        let mut candidates: Vec<usize> = (0..keys.len()).collect();
        candidates.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]).then(a.cmp(b)));
        let mut left: Vec<usize> = self.coupling.groups.iter().map(|group| group.units.len()).collect();
        let least: Vec<usize> = left.iter().map(|count| (*count as f64 * floor).ceil() as usize).collect();
        let mut selection = Selection::none(self.coupling);
        candidates.retain(|unit| {
            let group = self.coupling.units[*unit].group;
            let may = left[group] > least[group] && selection.leaves_something(self.coupling, *unit);
            if may {
                left[group] -= 1;
                selection.remove(self.coupling, *unit);
            }
            may
        });
        candidates
    }

    fn measure<'m>(&'m self, target: Target, whole: &Selection) -> Result<Measure<'m>, AllocateError> {
        let units = self.coupling.units.len();
        Ok(match target {
            Target::ChannelsRemoved(share) => {
                Measure { name: "channels_removed", share, kind: Kind::Removed { units } }
            }
            Target::MacsKept(share) => {
                let budget = self.macs.as_ref().map_err(|reason| AllocateError::MacsUnknown(reason.clone()))?;
                Measure {
                    name: "macs_kept",
                    share,
                    kind: Kind::Kept { budget, coupling: self.coupling, whole: budget.of(self.coupling, whole) },
                }
            }
            Target::ParamsKept(share) => {
                let budget = self.parameters;
                Measure {
                    name: "params_kept",
                    share,
                    kind: Kind::Kept { budget, coupling: self.coupling, whole: budget.of(self.coupling, whole) },
                }
            }
            // The request's parser lets this through for unstructured pruning only.
            Target::Sparsity(share) => Measure { name: "sparsity", share, kind: Kind::Removed { units } },
        })
    }
}

fn floor(target: Target) -> f64 {
    let kept = match target {
        Target::ChannelsRemoved(share) | Target::Sparsity(share) => 1.0 - share,
        // Both sides of a layer shrink, so that its cost falls with the square of its width.
        Target::MacsKept(share) | Target::ParamsKept(share) => share.max(0.0).sqrt(),
    };
    FLOOR.min(kept / 2.0).max(0.0)
}

/// A target with what is needed to tell whether it is met.
struct Measure<'m> {
    name: &'static str,
    share: f64,
    kind: Kind<'m>,
}

enum Kind<'m> {
    /// At least this share of the units goes.
    Removed { units: usize },
    /// At most this share of a figure stays.
    Kept { budget: &'m Budget, coupling: &'m Coupling, whole: u64 },
}

impl Measure<'_> {
    fn is_met(&self, selection: &Selection) -> bool {
        match &self.kind {
            // A share of a channel cannot go: half of five channels are two.
            Kind::Removed { units } => selection.count() as f64 >= (self.share * *units as f64 + 1e-9).floor(),
            Kind::Kept { budget, coupling, whole } => {
                budget.of(coupling, selection) as f64 <= self.share * *whole as f64
            }
        }
    }

    fn wants_something(&self) -> bool {
        match self.kind {
            Kind::Removed { .. } => self.share > 0.0,
            Kind::Kept { .. } => self.share < 1.0,
        }
    }

    fn reached(&self, selection: &Selection) -> f64 {
        match &self.kind {
            Kind::Removed { units } => selection.count() as f64 / (*units).max(1) as f64,
            Kind::Kept { budget, coupling, whole } => budget.of(coupling, selection) as f64 / (*whole).max(1) as f64,
        }
    }

    fn unreachable(&self, best: &Selection, coupling: &Coupling) -> AllocateError {
        AllocateError::Unreachable {
            target: format!("{} {}", self.name, self.share),
            best: format!("{:.4}", self.reached(best)),
            because: because(coupling),
        }
    }
}

/// The reasons that hold most axes, where some are held.
fn because(coupling: &Coupling) -> String {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for frozen in &coupling.frozen {
        *counts.entry((&frozen.reason, frozen.operator.as_deref().unwrap_or(""))).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons: Vec<String> = counts
        .iter()
        .take(3)
        .map(
            |((reason, operator), _)| {
                if operator.is_empty() { (*reason).to_owned() } else { format!("{operator}: {reason}") }
            },
        )
        .collect();
    if reasons.is_empty() { String::new() } else { format!(" (left alone: {})", reasons.join("; ")) }
}
