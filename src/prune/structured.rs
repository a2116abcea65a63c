//! The structured cut, from a model and a spec to a plan and the cut model. The certificate is apart.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::allocate::{AllocateError, Allocation, Budget, Rounding, Selection};
use super::coupling::{self, Coupling, Member, Wishes};
use super::error::PruneError;
use super::importance;
use super::surgery::{Plan, SurgeryError, Tailor};
use crate::cost::{self, OpenSizes};
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorProto};
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
pub fn cut(model: &Model, graph: &Graph<'_>, inferred: &Inferred, spec: &PruneSpec) -> Result<Cut, PruneError> {
    let found = model.opset("").unwrap_or(LEAST_OPSET);
    if found < LEAST_OPSET {
        return Err(PruneError::Opset { least: LEAST_OPSET, found });
    }
    let mut wishes = Wishes { exclude: globs(&spec.exclude, graph)?, holds: Vec::new(), keep_normalised: spec.keep_normalized };
    let open = OpenSizes::new(model, inferred, &spec.example_shapes);
    let parameters = cost::parameter_count(model);
    let mut notes = Vec::new();
    let (mut target, mut missed, mut stricter) = (spec.target, None, 0..STRICTER);
    loop {
        let coupling = coupling::couple(model, graph, inferred, &wishes)?;
        let scores = importance::scores(graph, &coupling, spec.criterion, spec.seed)?;
        let rounding = Rounding::new(graph, &coupling, &scores, spec.round_to);
        let macs = Budget::macs(graph, inferred, &coupling, &open);
        let allocation = Allocation {
            coupling: &coupling,
            scores: &scores,
            scope: spec.scope,
            rounding: &rounding,
            macs: &macs,
            parameters: &Budget::parameters(graph, inferred, &coupling, parameters),
        };
        // A target that was made stricter is not the one to report on.
        let selection = match (allocation.select(target), &missed) {
            (Err(AllocateError::Unreachable { because, .. }), Some(best)) => {
                return Err(unreachable(spec.target, *best, because).into());
            }
            (selection, _) => selection?,
        };
        let cut = Tailor::new(model, graph, inferred, &coupling, &selection).cut();
        match cut {
            Ok((plan, cut)) => match shortfall(spec, model, &cut) {
                None => return Ok(Cut { coupling, selection, plan, model: cut, notes }),
                Some(measured) if stricter.next().is_some() => {
                    (target, missed) = (scaled(target, wanted(spec.target) / measured), Some(measured));
                }
                Some(measured) => return Err(unreachable(spec.target, measured, String::new()).into()),
            },
            Err(SurgeryError::Held(hold)) if !wishes.holds.contains(&hold) => {
                notes
                    .push(format!("axis {} of `{}` stays: {} ({})", hold.axis, hold.value, hold.reason, hold.operator));
                wishes.holds.push(hold);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The share of the figure in question that the cut model keeps, where that is more than the target allows.
fn shortfall(spec: &PruneSpec, model: &Model, cut: &Model) -> Option<f64> {
    let figure = |model: &Model| match spec.target {
        Target::ParamsKept(_) => Some(cost::parameter_count(model)),
        Target::MacsKept(_) => cost::macs(model, &spec.example_shapes).ok(),
        Target::ChannelsRemoved(_) | Target::Sparsity(_) => None,
    };
    let (before, after) = (figure(model)? as f64, figure(cut).map_or(f64::INFINITY, |after| after as f64));
    (after > wanted(spec.target) * before).then(|| after / before.max(1.0))
}

fn wanted(target: Target) -> f64 {
    let (Target::ParamsKept(share)
    | Target::MacsKept(share)
    | Target::ChannelsRemoved(share)
    | Target::Sparsity(share)) = target;
    share
}

/// The same kind of target with another share.
fn scaled(target: Target, factor: f64) -> Target {
    match target {
        Target::ParamsKept(share) => Target::ParamsKept(share * factor),
        Target::MacsKept(share) => Target::MacsKept(share * factor),
        other => other,
    }
}

fn unreachable(target: Target, best: f64, because: String) -> AllocateError {
    let name = if matches!(target, Target::MacsKept(_)) { "macs_kept" } else { "params_kept" };
    AllocateError::Unreachable { target: format!("{name} {}", wanted(target)), best: format!("{best:.4}"), because }
}

/// The patterns of names to leave alone.
///
/// Errors: a pattern without a match, for what it was to protect would be cut without a word.
pub fn globs(patterns: &[String], graph: &Graph<'_>) -> Result<GlobSet, PruneError> {
    let bad = |pattern: &str| PruneError::Exclude { pattern: pattern.to_owned() };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|_| bad(pattern))?;
        let matcher = glob.compile_matcher();
        let nodes = graph.proto.node.iter();
        let mut names =
            nodes.flat_map(|node| std::iter::once(node.name()).chain(node.output.iter().map(String::as_str)));
        let mut initializers = graph.proto.initializer.iter().map(TensorProto::name);
        if !names.any(|name| matcher.is_match(name)) && !initializers.any(|name| matcher.is_match(name)) {
            let example = graph.proto.node.iter().map(NodeProto::name).find(|name| !name.is_empty());
            let example = example.or_else(|| graph.proto.initializer.first().map(TensorProto::name));
            return Err(PruneError::ExcludesNothing {
                pattern: pattern.clone(),
                example: example.unwrap_or_default().to_owned(),
            });
        }
        set.add(glob);
    }
    set.build().map_err(|_| bad(&patterns.join(", ")))
}

impl Cut {
    /// Every group with its members and widths.
    pub fn groups(&self) -> Vec<GroupReport> {
        let report = |group: &coupling::Group| {
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
                name: members.first().map_or_else(String::new, |member| member.initializer.clone()),
                members,
                width_before: group.units.len() as u64,
                width_after: kept as u64,
            }
        };
        self.coupling.groups.iter().map(report).collect()
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
        let covered: usize =
            names.iter().filter_map(|name| graph.constant(name)?.ok()).map(|tensor| tensor.len()).sum();
        covered as f64 / parameters.max(1) as f64
    }
}
