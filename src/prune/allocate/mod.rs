//! From scores and a target to the units that go.
//!
//! Units are put in one order of removal; a selection is a beginning of that order, rounded up. Selections are therefore
//! nested: a stricter target removes a superset. Ties are broken by index. No group gives more than its floor and the
//! user's bounds allow.

mod bounds;
mod budget;
mod classes;
mod measure;
mod widths;

pub use bounds::Bounds;
pub use budget::Budget;
pub use classes::classes;
pub use measure::{missed, worded};
pub use widths::{Rounding, Selection};

use crate::spec::prune::{Scope, Target};

use super::coupling::Coupling;
use super::latency::LatencyError;
use super::surgery::SurgeryError;
use measure::Measure;

/// Why no selection was made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AllocateError {
    #[error("the target {target} cannot be reached; the best that is possible is {best}{because}")]
    Unreachable { target: String, best: String, because: String },
    #[error("the multiply-accumulates cannot be counted: {0}")]
    MacsUnknown(String),
    #[error(transparent)]
    Unfigured(#[from] Unfigured),
    /// The parser of requests lets no such target through.
    #[error("the target `{target}` does not belong to this method")]
    Unsuitable { target: &'static str },
}

/// What a target is about: falls as channels go.
pub trait Figure: std::fmt::Debug {
    /// The figure for a selection.
    ///
    /// Errors: it can be told only by making the cut, and the cut or what follows failed.
    fn of(&self, coupling: &Coupling, selection: &Selection) -> Result<f64, Unfigured>;
}

/// Why a figure is not known of a selection.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfigured {
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    #[error(transparent)]
    Latency(#[from] LatencyError),
}

/// What a selection is made from.
pub struct Allocation<'a> {
    pub coupling: &'a Coupling,
    /// One score a unit, comparable across groups.
    pub scores: &'a [f64],
    pub scope: Scope,
    /// The class of each group: those of one class compete.
    pub classes: &'a [usize],
    /// By group: units that stay at least.
    pub least: &'a [usize],
    pub rounding: &'a Rounding,
    /// The figure that the target is about, where it is about one; the reason where it cannot be counted.
    pub figure: Result<&'a dyn Figure, &'a str>,
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
        let measure = Measure::new(target, self.coupling, self.figure)?;
        let order = self.order(floor(&measure));
        let selection = |count: usize| {
            let mut selection = whole.clone();
            order[..count].iter().for_each(|unit| selection.remove(self.coupling, *unit));
            self.rounding.round_up(self.coupling, &mut selection);
            selection
        };
        let (mut low, mut high) = (0, order.len());
        let most = selection(high);
        if !measure.is_met(&most)? || (order.is_empty() && measure.wants_something()) {
            return Err(measure.unreachable(&most, self.least.iter().filter(|least| **least > 0).count()));
        }
        let mut best = most;
        while low < high {
            let middle = low.midpoint(high);
            let tried = selection(middle);
            if measure.is_met(&tried)? {
                (best, high) = (tried, middle);
            } else {
                low = middle + 1;
            }
        }
        Ok(best)
    }

    /// The units in the order in which they go, as far as they may.
    fn order(&self, floor: f64) -> Vec<usize> {
        let by_key = |keys: &[f64], units: &mut [usize]| {
            units.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]).then(a.cmp(b)));
        };
        let mut keys = self.scores.to_vec();
        if self.scope != Scope::Global {
            // The rank within the class in the place of the score: every class gives the same share.
            let mut members = vec![Vec::new(); self.classes.iter().max().map_or(0, |last| last + 1)];
            for (group, class) in self.coupling.groups.iter().zip(self.classes) {
                members[*class].extend(group.units.clone());
            }
            for ranked in &mut members {
                by_key(self.scores, ranked);
                let count = ranked.len() as f64;
                ranked.iter().enumerate().for_each(|(rank, unit)| keys[*unit] = (rank + 1) as f64 / count);
            }
        }
        let mut candidates: Vec<usize> = (0..keys.len()).collect();
        by_key(&keys, &mut candidates);
        let mut left: Vec<usize> = self.coupling.groups.iter().map(|group| group.units.len()).collect();
        let least = |(count, least): (&usize, &usize)| ((*count as f64 * floor).ceil() as usize).max(*least);
        let least: Vec<usize> = left.iter().zip(self.least).map(least).collect();
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
}

fn floor(measure: &Measure<'_>) -> f64 {
    let kept = measure.share_kept();
    // Both sides of a layer shrink, so that its cost falls with the square of its width.
    let kept = if measure.falls_with_the_square() { kept.max(0.0).sqrt() } else { kept };
    FLOOR.min(kept / 2.0).max(0.0)
}
