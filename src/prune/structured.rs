//! The structured cut, from a model and a spec to a plan and the cut model. The certificate is apart.

use super::allocate::{self, AllocateError, Allocation, Bounds, Budget, Figure, Rounding, Selection, Unfigured};
use super::coupling::{self, Coupling, Hold, Member, Part, Wishes};
use super::error::PruneError;
use super::importance::{Evidence, Scores, Scoring};
use super::latency::Clock;
use super::latency::search::{Ended, Search};
use super::names::Excluded;
use super::surgery::{Plan, SurgeryError, Tailor};
use crate::cost::{self, Host, OpenSizes};
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::spec::prune::{PruneSpec, Target};
use crate::spec::report::{GroupMember, GroupReport, PruneLatency};

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
    /// Where the target was about time.
    pub latency: Option<PruneLatency>,
}

/// What is cut, and how.
#[derive(Clone, Copy, Debug)]
pub struct Cloth<'a> {
    pub model: &'a Model,
    pub graph: &'a Graph<'a>,
    pub inferred: &'a Inferred,
    pub spec: &'a PruneSpec,
    /// What criteria that look at samples see.
    pub evidence: Option<&'a Evidence<'a>>,
    /// Where latency is measured.
    pub host: &'a Host,
}

/// Couples, scores, selects and cuts until the target is met by the cut model itself.
pub fn cut(cloth: Cloth<'_>) -> Result<Cut, PruneError> {
    let Cloth { model, graph, spec, .. } = cloth;
    let found = model.opset("").unwrap_or(LEAST_OPSET);
    if found < LEAST_OPSET {
        return Err(PruneError::Opset { least: LEAST_OPSET, found });
    }
    let wishes = Wishes {
        exclude: Excluded::new(&spec.exclude, &spec.exclude_operators, graph)?,
        holds: Vec::new(),
        keep_normalised: spec.keep_normalized,
    };
    let mut cutter = Cutter { cloth, wishes, scoring: Scoring::of(spec), scores: None, held: Vec::new() };
    let mut cut = if spec.target.is_measured() {
        let clock = Clock::new(model, &spec.example_shapes, spec.latency_threads as usize, cloth.host)?;
        cutter.timed(&clock)?
    } else {
        cutter.counted()?
    };
    let [before, after] = [model, &cut.model].map(cost::parameter_count);
    if after > before {
        cut.notes.push(format!(
            "the cut model has {after} parameters, more than the original's {before}: layers that read one weight in \
             several ways got a copy each; leave them alone with `exclude`, or ask for `params_kept`"
        ));
    }
    Ok(cut)
}

#[derive(Debug)]
struct Cutter<'a> {
    cloth: Cloth<'a>,
    wishes: Wishes,
    scoring: Scoring,
    /// What the last coupling's units are worth: another target changes nothing of it.
    scores: Option<Scores>,
    /// Axes that have to stay after all, each in a sentence.
    held: Vec<String>,
}

impl Cutter<'_> {
    /// Makes a target of a figure stricter where the cut model has more than was counted on.
    fn counted(&mut self) -> Result<Cut, PruneError> {
        let Cloth { model, spec, .. } = self.cloth;
        let (mut target, mut missed, mut stricter) = (spec.target, None, 0..STRICTER);
        loop {
            // A target that was made stricter is not the one to report on.
            let cut = match (self.at(target, None), missed) {
                (Err(PruneError::Allocate(AllocateError::Unreachable { because, .. })), Some(best)) => {
                    return Err(allocate::missed(spec.target, best, because).into());
                }
                (cut, _) => cut?,
            };
            match shortfall(spec, model, &cut.model) {
                None => return Ok(cut),
                Some(measured) if stricter.next().is_some() => {
                    (target, missed) = (stricter_than(target, spec.target, measured), Some(measured));
                }
                Some(measured) => return Err(allocate::missed(spec.target, measured, String::new()).into()),
            }
        }
    }

    /// Moves a target of time until the cut model, measured beside the original, takes what was asked for and little less.
    fn timed(&mut self, clock: &Clock<'_>) -> Result<Cut, PruneError> {
        let Cloth { model, spec, .. } = self.cloth;
        let mut search = Search::new(spec.target);
        loop {
            let cut = match self.at(search.target(), Some(clock)) {
                Err(PruneError::Allocate(AllocateError::Unreachable { best, because, .. })) => {
                    return match search.ended() {
                        Ended::Met(cut) => Ok(*cut),
                        Ended::Missed(Some(best)) => Err(allocate::missed(spec.target, best, because).into()),
                        Ended::Missed(None) => {
                            Err(AllocateError::Unreachable { target: allocate::worded(spec.target), best, because }
                                .into())
                        }
                    };
                }
                cut => cut?,
            };
            let predicted_ns = clock.predict(&cut.model)?;
            let race = clock.race(model, &cut.model)?;
            search.judge(cut, predicted_ns, &race, clock);
            if search.is_over() {
                return match search.ended() {
                    Ended::Met(cut) => Ok(*cut),
                    Ended::Missed(best) => {
                        Err(allocate::missed(spec.target, best.unwrap_or(f64::INFINITY), String::new()).into())
                    }
                };
            }
        }
    }

    /// The cut for a target as far as it can be foreseen.
    ///
    /// An axis whose numbers cannot be made right shows only when it is cut; it is then held and everything is derived
    /// again without it, each time with fewer axes, so that this ends.
    fn at(&mut self, target: Target, clock: Option<&Clock<'_>>) -> Result<Cut, PruneError> {
        let Cloth { model, graph, inferred, spec, evidence, .. } = self.cloth;
        loop {
            let coupling = coupling::couple(model, graph, inferred, &self.wishes)?;
            let scores = if let Some(scores) = self.scores.take() {
                scores
            } else {
                let mut scores = self.scoring.scores(graph, &coupling, evidence)?;
                if scores.are_losses {
                    weigh(&coupling, &mut scores, &self.budget(&coupling));
                }
                scores
            };
            let bounds = Bounds::new(graph, &coupling, &spec.bounds).map_err(|source| ("bounds", source))?;
            let (budget, time);
            let figure: Result<&dyn Figure, &str> = if let Some(clock) = clock {
                time = CutTime { cloth: self.cloth, clock };
                Ok(&time)
            } else {
                budget = self.budget(&coupling);
                budget.as_ref().map(|budget| budget as &dyn Figure).map_err(String::as_str)
            };
            let allocation = Allocation {
                coupling: &coupling,
                scores: &scores.of_units,
                scope: spec.scope,
                classes: &allocate::classes(graph, &coupling, spec.scope),
                least: &bounds.least,
                rounding: &Rounding::new(graph, &coupling, &scores.of_units, spec.round_to),
                figure,
            };
            let made = allocation.select(target).map_err(PruneError::from).and_then(|selection| {
                let (plan, model) = Tailor::new(model, graph, inferred, &coupling, &selection).cut()?;
                Ok((selection, plan, model))
            });
            match made {
                Ok((selection, plan, model)) => {
                    let twice = cut_twice(&coupling, &selection);
                    let notes = [scores.notes.clone(), bounds.notes, self.held.clone(), twice].concat();
                    self.scores = Some(scores);
                    return Ok(Cut { coupling, selection, plan, model, notes, latency: None });
                }
                Err(error) => match error.into_hold() {
                    Ok(hold) if !self.wishes.holds.contains(&hold) => {
                        let Hold { value, axis, operator, reason } = &hold;
                        self.held.push(format!("axis {axis} of `{value}` stays: {reason} ({operator})"));
                        self.wishes.holds.push(hold);
                    }
                    Ok(hold) => return Err(SurgeryError::Held(hold).into()),
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// The figure that the target is about.
    fn budget(&self, coupling: &Coupling) -> Result<Budget, String> {
        let Cloth { model, graph, inferred, spec, .. } = self.cloth;
        match spec.target {
            Target::MacsKept(_) => {
                Budget::macs(graph, inferred, coupling, &OpenSizes::new(model, inferred, &spec.example_shapes))
            }
            Target::ParamsKept(_) => Ok(Budget::parameters(graph, inferred, coupling, cost::parameter_count(model))),
            Target::Bytes(_) => Ok(Budget::bits(graph, inferred, coupling, model.size_bytes() as u64 * 8)),
            _ => Ok(Budget::default()),
        }
    }
}

/// Divides what is lost with a unit by what is saved with it: a budget is met at the least loss where those go first whose
/// loss is least for what they save.
fn weigh(coupling: &Coupling, scores: &mut Scores, budget: &Result<Budget, String>) {
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
struct CutTime<'a> {
    cloth: Cloth<'a>,
    clock: &'a Clock<'a>,
}

impl Figure for CutTime<'_> {
    fn of(&self, coupling: &Coupling, selection: &Selection) -> Result<f64, Unfigured> {
        let Cloth { model, graph, inferred, .. } = self.cloth;
        let (_, cut) = Tailor::new(model, graph, inferred, coupling, selection).cut()?;
        Ok(self.clock.predict(&cut)?)
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

/// That axes which are products of two groups lose a share of each, where there are such: less of them is left than of the
/// others.
fn cut_twice(coupling: &Coupling, selection: &Selection) -> Vec<String> {
    let mut axes = 0_usize;
    let mut least: Option<(f64, &str, usize)> = None;
    for tensor in coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
        for (axis, layout) in tensor.axes.iter().flatten().enumerate() {
            let shares: Vec<f64> = (layout.parts.iter())
                .filter_map(|part| match part {
                    Part::Leaf(leaf) => {
                        let (kept, all) =
                            (selection.widths[*leaf as usize] as usize, coupling.leaves[*leaf as usize].size);
                        (kept < all).then_some(kept as f64 / all as f64)
                    }
                    Part::Fixed(_) => None,
                })
                .collect();
            if shares.len() > 1 {
                axes += 1;
                let left: f64 = shares.iter().product();
                if least.is_none_or(|(least, ..)| left < least) {
                    least = Some((left, &tensor.name, axis));
                }
            }
        }
    }
    let note = |(left, name, axis): (f64, &str, usize)| {
        format!(
            "{axes} axes are products of two groups (heads and positions in a head, groups and channels in a group) and lose \
             a share of each: of axis {axis} of `{name}` {left:.2} is left; `exclude` or `bounds` leave one of them alone"
        )
    };
    least.map(note).into_iter().collect()
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
