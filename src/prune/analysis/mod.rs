//! What could be pruned, what could not and why, and what lies idle: read off a coupling and the weights, nothing is
//! changed.
//!
//! The coupling is the one that a structured prune ends with: some axes show that they have to stay only when a cut is
//! tried, so that one is. Knows nothing of budgets or data.

mod activations;
mod carried;
mod channels;
mod contribution;
mod findings;
mod hint;
mod layers;
mod slices;

use std::cmp::Reverse;

use super::allocate::AllocateError;
use super::coupling::{self, Coupling, FrozenGroup, Group, LeafId, Wishes};
use super::names::Excluded;
use super::{PruneError, structured};
use crate::cost::{self, Host, OpenSizes};
use crate::data::Samples;
use crate::onnx::bodies;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::spec::analysis::{AnalyzeReport, AnalyzedGroup, AnalyzedMember, Coverage, FrozenBy, LowContribution};
use crate::spec::analyze::AnalyzeSpec;
use crate::spec::prune::{Criterion, Method, PruneRequest, Scope, Target};
use activations::Activations;
use carried::{Carried, Gone};
use channels::Ends;
use contribution::Contribution;

/// Groups below this share of the median are told to contribute little.
const LOW_CONTRIBUTION: f64 = 0.5;

/// What was found out about a model.
#[derive(Clone, Debug)]
pub struct Analysis {
    pub report: AnalyzeReport,
    /// Things worth knowing, each a sentence.
    pub findings: Vec<String>,
}

/// Analyzes a model, and what its channels do on samples where there are some.
///
/// Errors: a pattern of `exclude` that matches nothing, or more indices than can be told apart.
/// Cost: that of a structured cut without its certificate, and two passes over each weight.
pub fn analyze(
    model: &Model,
    spec: &AnalyzeSpec,
    samples: Option<Samples<'_>>,
    threads: usize,
) -> Result<Analysis, PruneError> {
    let whole = model;
    let laid_out = bodies::lay_out(model);
    let model = laid_out.as_ref().map_or(whole, |laid_out| &laid_out.model);
    let inferred = crate::onnx::shape::infer(model);
    let graph = model.graph();
    let (coupling, mut notes) = couple(model, &graph, &inferred, spec)?;
    let open = OpenSizes::new(model, &inferred, &spec.example_shapes);
    let size = cost::size(whole, &spec.example_shapes);
    let carried = Carried::new(&graph, &inferred, &coupling, &open);

    let mut wanted = vec![false; coupling.leaves.len()];
    coupling.groups.iter().flat_map(|group| &group.leaves).for_each(|leaf| wanted[*leaf as usize] = true);
    let (slices, not_finite) = slices::slices(&graph, &coupling, &wanted);
    notes.extend(not_finite.iter().map(|name| format!("`{name}` holds values that are not finite numbers")));
    let contributions = contribution::contributions(&coupling, &slices);

    let subject = Subject { graph: &graph, coupling: &coupling, carried: &carried, spec };
    let mut groups: Vec<AnalyzedGroup> = coupling.groups.iter().zip(contributions).map(|of| subject.free(of)).collect();
    let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
    let ends = Ends::new(&graph, &coupling, &slices);
    // What is inside of bodies cannot be observed.
    let outside = laid_out.as_ref().map(|_| crate::onnx::shape::infer(whole));
    let seen = outside.as_ref().unwrap_or(&inferred);
    let observed = Activations {
        model: whole,
        graph: &graph,
        inferred: seen,
        coupling: &coupling,
        slices: &slices,
        names: &names,
    };
    let activations = samples.map(|samples| observed.observe(samples, threads)).transpose()?;
    let low_contribution = low_contribution(&groups);
    groups.extend(coupling.frozen_groups.iter().map(|group| subject.frozen(group)));
    groups.sort_by_key(|group| (!group.prunable, Reverse(group.parameters)));

    let report = AnalyzeReport {
        coverage: subject.coverage(size.parameters),
        size,
        groups,
        layers: layers::layers(model, &graph, &inferred, &open),
        low_contribution,
        dead_channels: channels::dead(&coupling, &slices, &ends, &names),
        duplicate_channels: channels::duplicates(&coupling, &slices, &ends, &names),
        activations,
    };
    let mut findings = findings::findings(&report);
    findings.extend(findings::computed_weights(&graph));
    findings.extend(notes);
    Ok(Analysis { report, findings })
}

/// The coupling that a prune job of the same wishes would end with, and what was found out on the way.
fn couple(
    model: &Model,
    graph: &Graph<'_>,
    inferred: &Inferred,
    spec: &AnalyzeSpec,
) -> Result<(Coupling, Vec<String>), PruneError> {
    let trial = PruneRequest {
        method: Method::Structured,
        // Reads no weight, so that none can be wrong.
        criterion: Some(Criterion::Random),
        scope: Scope::Local,
        target: Some(Target::ChannelsRemoved(0.5)),
        round_to: Some(1.into()),
        exclude: spec.exclude.clone(),
        exclude_operators: spec.exclude_operators.clone(),
        keep_normalized: spec.keep_normalized,
        example_shapes: spec.example_shapes.clone(),
        ..PruneRequest::default()
    };
    let note = match trial.parse() {
        Ok(spec) => match structured::cut(structured::Cloth {
            model,
            graph,
            inferred,
            spec: &spec,
            evidence: None,
            host: &Host::alone(),
        }) {
            Ok(cut) => return Ok((cut.coupling, cut.notes)),
            Err(error @ (PruneError::Couple(_) | PruneError::Names { .. })) => return Err(error),
            // Nothing can be removed; the groups say why.
            Err(PruneError::Allocate(AllocateError::Unreachable { .. })) => None,
            Err(error) => Some(format!("a prune job would fail: {error}")),
        },
        Err((field, message)) => Some(format!("a prune job would be refused: {field} {message}")),
    };
    let wishes = Wishes {
        exclude: Excluded::new(&spec.exclude, &spec.exclude_operators, graph)?,
        holds: Vec::new(),
        keep_normalised: spec.keep_normalized,
    };
    Ok((coupling::couple(model, graph, inferred, &wishes)?, note.into_iter().collect()))
}

/// Prunable groups with small weights, the smallest first.
fn low_contribution(groups: &[AnalyzedGroup]) -> Vec<LowContribution> {
    let low = |group: &AnalyzedGroup| {
        let contribution = group.contribution.filter(|contribution| *contribution < LOW_CONTRIBUTION)?;
        Some(LowContribution { group: group.name.clone(), contribution, parameters: group.parameters })
    };
    let mut found: Vec<LowContribution> = groups.iter().filter_map(low).collect();
    found.sort_by(|a, b| a.contribution.total_cmp(&b.contribution));
    found
}

/// What groups are described from.
struct Subject<'a> {
    graph: &'a Graph<'a>,
    coupling: &'a Coupling,
    carried: &'a Carried,
    spec: &'a AnalyzeSpec,
}

impl Subject<'_> {
    fn free(&self, (group, contribution): (&Group, Contribution)) -> AnalyzedGroup {
        AnalyzedGroup {
            prunable: true,
            contribution: contribution.relative,
            weak_channels: contribution.weak_channels,
            ..self.group(&group.leaves, group.units.len(), &self.gone(group))
        }
    }

    fn frozen(&self, group: &FrozenGroup) -> AnalyzedGroup {
        let described = self.group(&group.leaves, group.width, &group.counts);
        let initializers: Vec<&str> = described.members.iter().map(|member| member.initializer.as_str()).collect();
        let frozen_by = FrozenBy {
            operator: group.operator.clone(),
            tensor: group.value.clone(),
            reason: group.reason.clone(),
            hint: hint::hint(group, &initializers, self.spec),
        };
        AnalyzedGroup { frozen_by: Some(frozen_by), ..described }
    }

    fn group(&self, leaves: &[LeafId], width: usize, gone: &Gone) -> AnalyzedGroup {
        let members = self.members(leaves);
        AnalyzedGroup {
            name: members.first().map_or_else(String::new, |member| member.initializer.clone()),
            members,
            width: width as u64,
            parameters: self.carried.parameters(self.coupling, gone),
            macs: self.carried.macs(self.coupling, gone),
            prunable: false,
            frozen_by: None,
            contribution: None,
            weak_channels: 0,
        }
    }

    /// The axes of constants that hold these leaves.
    fn members(&self, leaves: &[LeafId]) -> Vec<AnalyzedMember> {
        let mut found: Vec<AnalyzedMember> = Vec::new();
        for member in leaves.iter().flat_map(|leaf| &self.coupling.members[*leaf as usize]) {
            let tensor = &self.coupling.tensors[member.tensor];
            let operator = tensor.constant_use.map_or_else(String::new, |(node, _)| self.graph.node(node).label());
            let member = AnalyzedMember { initializer: tensor.name.clone(), axis: member.axis as u64, operator };
            if !found.contains(&member) {
                found.push(member);
            }
        }
        found
    }

    /// How many indices of each leaf a group has.
    fn gone(&self, group: &Group) -> Gone {
        let mut gone = Gone::new();
        for (leaf, _) in group.units.clone().flat_map(|unit| &self.coupling.units[unit].indices) {
            *gone.entry(*leaf).or_default() += 1;
        }
        gone
    }

    fn coverage(&self, parameters: u64) -> Coverage {
        let mut gone = Gone::new();
        for group in &self.coupling.groups {
            for (leaf, count) in self.gone(group) {
                *gone.entry(leaf).or_default() += count;
            }
        }
        let macs = self.carried.macs(self.coupling, &gone).zip(self.carried.all_macs());
        Coverage {
            parameters: self.carried.parameters(self.coupling, &gone) as f64 / parameters.max(1) as f64,
            macs: macs.map(|(covered, all)| covered as f64 / all.max(1) as f64),
        }
    }
}
