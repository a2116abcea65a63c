//! The structured cut, from a model and a spec to a plan and the cut model. The certificate is apart.

mod multiple;
mod report;
mod target;

use super::allocate::{self, AllocateError, Allocation, Bounds, Budget, Figure, Rounding, Selection};
use super::coupling::{self, Coupling, Hold, Wishes};
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
use crate::spec::report::PruneLatency;
use report::cut_twice;
use target::{CutTime, shortfall, stricter_than, weigh};

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
    let clock = || Clock::new(model, &spec.example_shapes, spec.latency_threads as usize, cloth.host);
    let mut cutter = Cutter { cloth, wishes, scoring: Scoring::of(spec), multiple: 1, scores: None, held: Vec::new() };
    let (mut clocked, mut chosen) = (None, None);
    match spec.round_to.multiple() {
        Some(multiple) => cutter.multiple = multiple,
        None => chosen = Some(cutter.quickest_multiple(clocked.insert(clock()?))?),
    }
    let mut cut = if spec.target.is_measured() {
        let clock = match clocked {
            Some(clock) => clock,
            None => clock()?,
        };
        cutter.timed(&clock)?
    } else {
        cutter.counted(spec.target)?
    };
    cut.notes.extend(chosen);
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
    /// What widths are multiples of.
    multiple: u32,
    /// What the last coupling's units are worth: another target changes nothing of it.
    scores: Option<Scores>,
    /// Axes that have to stay after all, each in a sentence.
    held: Vec<String>,
}

impl Cutter<'_> {
    /// Makes a target of a figure stricter where the cut model has more than was counted on.
    fn counted(&mut self, asked: Target) -> Result<Cut, PruneError> {
        let Cloth { model, spec, .. } = self.cloth;
        let (mut target, mut missed, mut stricter) = (asked, None, 0..STRICTER);
        loop {
            // A target that was made stricter is not the one to report on.
            let cut = match (self.at(target, None), missed) {
                (Err(PruneError::Allocate(AllocateError::Unreachable { because, .. })), Some(best)) => {
                    return Err(allocate::missed(asked, best, because).into());
                }
                (cut, _) => cut?,
            };
            match shortfall(asked, &spec.example_shapes, model, &cut.model) {
                None => return Ok(cut),
                Some(measured) if stricter.next().is_some() => {
                    (target, missed) = (stricter_than(target, asked, measured), Some(measured));
                }
                Some(measured) => return Err(allocate::missed(asked, measured, String::new()).into()),
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
                    weigh(&coupling, &mut scores, &self.budget(&coupling, spec.target));
                }
                scores
            };
            let bounds = Bounds::new(graph, &coupling, &spec.bounds).map_err(|source| ("bounds", source))?;
            let (budget, time);
            let figure: Result<&dyn Figure, &str> = if let Some(clock) = clock {
                time = CutTime { cloth: self.cloth, clock };
                Ok(&time)
            } else {
                budget = self.budget(&coupling, target);
                budget.as_ref().map(|budget| budget as &dyn Figure).map_err(String::as_str)
            };
            let allocation = Allocation {
                coupling: &coupling,
                scores: &scores.of_units,
                scope: spec.scope,
                classes: &allocate::classes(graph, &coupling, spec.scope),
                least: &bounds.least,
                rounding: &Rounding::new(graph, &coupling, &scores.of_units, self.multiple),
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

    /// The figure that a target is about; of time, which is not counted, the one that comes nearest.
    fn budget(&self, coupling: &Coupling, target: Target) -> Result<Budget, String> {
        let Cloth { model, graph, inferred, spec, .. } = self.cloth;
        match target {
            Target::MacsKept(_) | Target::LatencyMs(_) | Target::LatencyKept(_) => {
                Budget::macs(graph, inferred, coupling, &OpenSizes::new(model, inferred, &spec.example_shapes))
            }
            Target::ParamsKept(_) => Ok(Budget::parameters(graph, inferred, coupling, cost::parameter_count(model))),
            Target::Bytes(_) => Ok(Budget::bits(graph, inferred, coupling, model.size_bytes() as u64 * 8)),
            _ => Ok(Budget::default()),
        }
    }
}
