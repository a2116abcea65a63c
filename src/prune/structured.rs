//! The structured cut, from a model and a spec to a plan and the cut model. The certificate is apart.

use super::allocate::{self, AllocateError, Allocation, Bounds, Budget, Rounding, Selection};
use super::coupling::{self, Coupling, Member, Wishes};
use super::error::PruneError;
use super::importance::{Evidence, Scoring};
use super::names::Excluded;
use super::surgery::{Plan, SurgeryError, Tailor};
use crate::cost::{self, OpenSizes};
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::spec::prune::{PruneSpec, Target};
use crate::spec::report::{GroupMember, GroupReport};

/// Below this broadcasting is another operation.
const LEAST_OPSET: i64 = 7;

/// How often a target is made stricter when the cut model costs more than was counted on.
const STRICTER: usize = 8;

/// A cut that has not been certified yet.
#[derive(Debug)]
pub struct Cut {
    pub coupling: Coupling,
    pub selection: Selection,
    pub plan: Plan,
    pub model: Model,
    /// What was found out on the way, each a sentence.
    pub notes: Vec<String>,
}

/// Couples, scores, selects and cuts.
///
/// An axis whose numbers cannot be made right shows only when it is cut; it is then held and everything is derived again
/// without it, each time with fewer axes, so that this ends.
pub fn cut(
    model: &Model,
    graph: &Graph<'_>,
    inferred: &Inferred,
    spec: &PruneSpec,
    evidence: Option<&Evidence<'_>>,
) -> Result<Cut, PruneError> {
    let found = model.opset("").unwrap_or(LEAST_OPSET);
    if found < LEAST_OPSET {
        return Err(PruneError::Opset { least: LEAST_OPSET, found });
    }
    let mut wishes = Wishes {
        exclude: Excluded::new(&spec.exclude, &spec.exclude_operators, graph)?,
        holds: Vec::new(),
        keep_normalised: spec.keep_normalized,
    };
    let scoring = Scoring::of(spec);
    let mut held = Vec::new();
    let mut scored = None;
    let (mut target, mut missed, mut stricter) = (spec.target, None, 0..STRICTER);
    loop {
        // A stricter target changes neither what goes together nor what it is worth.
        let (coupling, scores) = match scored.take() {
            Some(scored) => scored,
            None => {
                let coupling = coupling::couple(model, graph, inferred, &wishes)?;
                let scores = scoring.scores(graph, &coupling, evidence)?;
                (coupling, scores)
            }
        };
        let bounds = Bounds::new(graph, &coupling, &spec.bounds).map_err(|source| ("bounds", source))?;
        let allocation = Allocation {
            coupling: &coupling,
            scores: &scores.of_units,
            scope: spec.scope,
            classes: &allocate::classes(graph, &coupling, spec.scope),
            least: &bounds.least,
            rounding: &Rounding::new(graph, &coupling, &scores.of_units, spec.round_to),
            budget: &budget(model, graph, inferred, &coupling, spec),
        };
        // A target that was made stricter is not the one to report on.
        let selection = match (allocation.select(target), &missed) {
            (Err(AllocateError::Unreachable { because, .. }), Some(best)) => {
                return Err(allocate::missed(spec.target, *best, because).into());
            }
            (selection, _) => selection?,
        };
        let cut = Tailor::new(model, graph, inferred, &coupling, &selection).cut();
        match cut {
            Ok((plan, cut)) => match shortfall(spec, model, &cut) {
                None => {
                    let notes = [scores.notes, bounds.notes, held].concat();
                    return Ok(Cut { coupling, selection, plan, model: cut, notes });
                }
                Some(measured) if stricter.next().is_some() => {
                    (target, missed) = (stricter_than(target, spec.target, measured), Some(measured));
                    scored = Some((coupling, scores));
                }
                Some(measured) => return Err(allocate::missed(spec.target, measured, String::new()).into()),
            },
            Err(SurgeryError::Held(hold)) if !wishes.holds.contains(&hold) => {
                held.push(format!("axis {} of `{}` stays: {} ({})", hold.axis, hold.value, hold.reason, hold.operator));
                wishes.holds.push(hold);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The figure that the target is about.
fn budget(
    model: &Model,
    graph: &Graph<'_>,
    inferred: &Inferred,
    coupling: &Coupling,
    spec: &PruneSpec,
) -> Result<Budget, String> {
    match spec.target {
        Target::MacsKept(_) => {
            Budget::macs(graph, inferred, coupling, &OpenSizes::new(model, inferred, &spec.example_shapes))
        }
        Target::ParamsKept(_) => Ok(Budget::parameters(graph, inferred, coupling, cost::parameter_count(model))),
        Target::Bytes(_) => Ok(Budget::bits(graph, inferred, coupling, model.size_bytes() as u64 * 8)),
        _ => Ok(Budget::default()),
    }
}

/// How much the cut model has in the target's measure, where that is more than the target allows.
fn shortfall(spec: &PruneSpec, model: &Model, cut: &Model) -> Option<f64> {
    let (measured, most) = match spec.target {
        Target::ParamsKept(share) => {
            (cost::parameter_count(cut) as f64 / cost::parameter_count(model).max(1) as f64, share)
        }
        Target::MacsKept(share) => {
            let before = cost::macs(model, &spec.example_shapes).ok()?.max(1) as f64;
            let after = cost::macs(cut, &spec.example_shapes).map_or(f64::INFINITY, |after| after as f64);
            (after / before, share)
        }
        Target::Bytes(bytes) => (cut.size_bytes() as f64, bytes as f64),
        _ => return None,
    };
    (measured > most).then_some(measured)
}

/// A stricter target, for a model that still has `measured`.
fn stricter_than(target: Target, asked: Target, measured: f64) -> Target {
    match (target, asked) {
        (Target::ParamsKept(share), Target::ParamsKept(most)) => Target::ParamsKept(share * most / measured),
        (Target::MacsKept(share), Target::MacsKept(most)) => Target::MacsKept(share * most / measured),
        (Target::Bytes(bytes), Target::Bytes(most)) => Target::Bytes((bytes as f64 * most as f64 / measured) as u64),
        (other, _) => other,
    }
}

impl Cut {
    /// Every group with its members and widths.
    pub fn groups(&self) -> Vec<GroupReport> {
        let report = |at: usize| {
            let group = &self.coupling.groups[at];
            let mut members: Vec<GroupMember> = Vec::new();
            for Member { tensor, axis, .. } in
                group.leaves.iter().flat_map(|leaf| &self.coupling.members[*leaf as usize])
            {
                let member =
                    GroupMember { initializer: self.coupling.tensors[*tensor].name.clone(), axis: *axis as u64 };
                if !members.contains(&member) {
                    members.push(member);
                }
            }
            let kept = group.units.clone().filter(|unit| !self.selection.removed[*unit]).count();
            GroupReport {
                name: self.coupling.name_of(at).to_owned(),
                members,
                width_before: group.units.len() as u64,
                width_after: kept as u64,
            }
        };
        (0..self.coupling.groups.len()).map(report).collect()
    }

    /// Share of the channels in groups that went.
    pub fn removed(&self) -> f64 {
        self.selection.count() as f64 / self.coupling.units.len().max(1) as f64
    }

    /// Parameters that lie in an axis that can be cut, over all parameters.
    pub fn coverage(&self, graph: &Graph<'_>, parameters: u64) -> f64 {
        let mut names: Vec<&str> = self
            .coupling
            .groups
            .iter()
            .flat_map(|group| &group.leaves)
            .flat_map(|leaf| &self.coupling.members[*leaf as usize])
            .map(|member| self.coupling.tensors[member.tensor].name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let covered: usize = names
            .iter()
            .filter_map(|name| graph.constant(name)?.ok())
            .filter(|tensor| cost::is_parameter(tensor.dtype))
            .map(|tensor| tensor.len())
            .sum();
        covered as f64 / parameters.max(1) as f64
    }
}
