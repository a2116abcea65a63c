//! Whether a selection meets a target, and what is said where none does.

use std::collections::BTreeMap;

use super::{AllocateError, Figure, Selection, Unfigured};
use crate::prune::coupling::Coupling;
use crate::spec::prune::Target;

/// A target with what is needed to tell whether it is met.
#[derive(Debug)]
pub struct Measure<'a> {
    target: Target,
    coupling: &'a Coupling,
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    /// At least this share of the units goes.
    Removed(f64),
    /// At most this much of a figure stays.
    Kept { figure: &'a dyn Figure, most: f64, whole: f64 },
}

impl<'a> Measure<'a> {
    /// `figure` is what the target is about, where it is about a figure.
    ///
    /// Errors: why it cannot be told.
    pub fn new(
        target: Target,
        coupling: &'a Coupling,
        figure: Result<&'a dyn Figure, &str>,
    ) -> Result<Self, AllocateError> {
        let kept = |most: &dyn Fn(f64) -> f64| -> Result<Kind<'a>, AllocateError> {
            let figure = figure.map_err(|reason| AllocateError::MacsUnknown(reason.to_owned()))?;
            let whole = figure.of(coupling, &Selection::none(coupling))?;
            Ok(Kind::Kept { figure, most: most(whole), whole })
        };
        let kind = match target {
            Target::ChannelsRemoved(share) => Kind::Removed(share),
            Target::MacsKept(share) | Target::ParamsKept(share) | Target::LatencyKept(share) => {
                kept(&|whole| share * whole)?
            }
            // The clock counts nanoseconds.
            Target::LatencyMs(ms) => kept(&|_| ms * 1e6)?,
            // The budget counts bits.
            Target::Bytes(bytes) => kept(&|_| bytes as f64 * 8.0)?,
            other => return Err(AllocateError::Unsuitable { target: other.name() }),
        };
        Ok(Self { target, coupling, kind })
    }

    /// The share that the target leaves of what it is about.
    pub fn share_kept(&self) -> f64 {
        match self.kind {
            Kind::Removed(share) => 1.0 - share,
            Kind::Kept { most, whole, .. } => (most / whole.max(1.0)).clamp(0.0, 1.0),
        }
    }

    /// Whether it is about a figure that falls with both sides of a layer, or about channels.
    pub fn falls_with_the_square(&self) -> bool {
        matches!(self.kind, Kind::Kept { .. })
    }

    /// Errors: the figure cannot be told of this selection.
    pub fn is_met(&self, selection: &Selection) -> Result<bool, Unfigured> {
        Ok(match &self.kind {
            // A share of a channel cannot go: half of five channels are two.
            Kind::Removed(share) => {
                selection.count() as f64 >= (share * self.coupling.units.len() as f64 + 1e-9).floor()
            }
            Kind::Kept { figure, most, .. } => figure.of(self.coupling, selection)? <= *most,
        })
    }

    pub fn wants_something(&self) -> bool {
        self.share_kept() < 1.0
    }

    /// That the target is out of reach, what was the best, and what holds the rest: operators, and the user's bounds on so
    /// many groups.
    pub fn unreachable(&self, best: &Selection, bounded: usize) -> AllocateError {
        let best = match &self.kind {
            Kind::Removed(_) => selection_share(best, self.coupling),
            Kind::Kept { figure, whole, .. } => {
                let figure = match figure.of(self.coupling, best) {
                    Ok(figure) => figure,
                    Err(source) => return source.into(),
                };
                match self.target {
                    Target::Bytes(_) => figure / 8.0,
                    Target::LatencyMs(_) => figure / 1e6,
                    _ => figure / whole.max(1.0),
                }
            }
        };
        let because = match (because(self.coupling), bounded) {
            (because, 0) => because,
            (because, _) => format!("{because} (`bounds` hold {bounded} of {} groups)", self.coupling.groups.len()),
        };
        missed(self.target, best, because)
    }
}

/// The error of a target that was missed; `best` is in the target's own measure.
pub fn missed(target: Target, best: f64, because: String) -> AllocateError {
    let best = if matches!(target, Target::Bytes(_)) { format!("{:.0}", best.ceil()) } else { format!("{best:.4}") };
    AllocateError::Unreachable { target: worded(target), best, because }
}

/// A target as messages name it.
pub fn worded(target: Target) -> String {
    match target {
        Target::Bytes(bytes) => format!("bytes {bytes}"),
        Target::LatencyMs(ms) => format!("latency_ms {ms}"),
        other => format!("{} {}", other.name(), other.share().unwrap_or_default()),
    }
}

fn selection_share(selection: &Selection, coupling: &Coupling) -> f64 {
    selection.count() as f64 / coupling.units.len().max(1) as f64
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
