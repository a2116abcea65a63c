//! What a target counts, and how far a cut model is from it.

use super::Cloth;
use crate::cost::{self, ExampleShapes};
use crate::onnx::model::Model;
use crate::prune::allocate::{Budget, Figure, Selection, Unfigured};
use crate::prune::coupling::Coupling;
use crate::prune::importance::Scores;
use crate::prune::latency::Clock;
use crate::prune::surgery::Tailor;
use crate::spec::prune::Target;

/// Divides what is lost with a unit by what is saved with it: a budget is met at the least loss where those go first whose
/// loss is least for what they save.
pub fn weigh(coupling: &Coupling, scores: &mut Scores, budget: &Result<Budget, String>) {
    let Ok(budget) = budget else { return };
    let saved = budget.saved(coupling);
    if saved.iter().all(|saved| *saved == 0) {
        return;
    }
    for (group, saved) in coupling.groups.iter().zip(&saved) {
        for score in &mut scores.of_units[group.units.clone()] {
            *score /= (*saved).max(1) as f64;
        }
    }
}

/// What the model of a selection should take.
#[derive(Debug)]
pub struct CutTime<'a> {
    pub cloth: Cloth<'a>,
    pub clock: &'a Clock<'a>,
}

impl Figure for CutTime<'_> {
    fn of(&self, coupling: &Coupling, selection: &Selection) -> Result<f64, Unfigured> {
        let Cloth { model, graph, inferred, .. } = self.cloth;
        let (_, cut) = Tailor::new(model, graph, inferred, coupling, selection).cut()?;
        Ok(self.clock.predict(&cut)?)
    }
}

/// How much the cut model has in the target's measure, where that is more than the target allows.
pub fn shortfall(asked: Target, examples: &ExampleShapes, model: &Model, cut: &Model) -> Option<f64> {
    let (measured, most) = match asked {
        Target::ParamsKept(share) => {
            (cost::parameter_count(cut) as f64 / cost::parameter_count(model).max(1) as f64, share)
        }
        Target::MacsKept(share) => {
            let before = cost::macs(model, examples).ok()?.max(1) as f64;
            let after = cost::macs(cut, examples).map_or(f64::INFINITY, |after| after as f64);
            (after / before, share)
        }
        Target::Bytes(bytes) => (cut.size_bytes() as f64, bytes as f64),
        _ => return None,
    };
    (measured > most).then_some(measured)
}

/// A stricter target, for a model that still has `measured`.
pub fn stricter_than(target: Target, asked: Target, measured: f64) -> Target {
    match (target, asked) {
        (Target::ParamsKept(share), Target::ParamsKept(most)) => Target::ParamsKept(share * most / measured),
        (Target::MacsKept(share), Target::MacsKept(most)) => Target::MacsKept(share * most / measured),
        (Target::Bytes(bytes), Target::Bytes(most)) => Target::Bytes((bytes as f64 * most as f64 / measured) as u64),
        (other, _) => other,
    }
}
