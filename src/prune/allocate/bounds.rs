//! How much of each group stays at least, whatever the scores say.

use std::collections::BTreeMap;

use globset::GlobMatcher;

use crate::onnx::graph::Graph;
use crate::prune::coupling::{Coupling, NO_UNIT, Part};
use crate::prune::names::{self, NamesNothing};
use crate::spec::prune::WidthBound;

/// Units that every group keeps at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// By group.
    pub least: Vec<usize>,
    /// What a bound does not do, each a sentence.
    pub notes: Vec<String>,
}

impl Bounds {
    /// The bounds that the user's patterns set. A pattern means the layers of that name, or that use an initializer of that
    /// name, and bounds the groups of the channels that they write; of several the strictest holds.
    ///
    /// Errors: a pattern that is none or matches nothing.
    pub fn new(
        graph: &Graph<'_>,
        coupling: &Coupling,
        bounds: &BTreeMap<String, WidthBound>,
    ) -> Result<Self, NamesNothing> {
        let mut found = Self { least: vec![0; coupling.groups.len()], notes: Vec::new() };
        for (pattern, bound) in bounds {
            let matcher = names::matcher(pattern, graph)?.compile_matcher();
            let groups = written(graph, coupling, &matcher);
            if groups.is_empty() {
                found.notes.push(format!(
                    "the bound of `{pattern}` holds nothing: what it matches writes no channels that could go"
                ));
            }
            for group in groups {
                let least = &mut found.least[group];
                *least = (*least).max(bound.least(coupling.groups[group].units.len()));
            }
        }
        Ok(found)
    }
}

/// The groups of the channels that the matched layers write.
fn written(graph: &Graph<'_>, coupling: &Coupling, matcher: &GlobMatcher) -> Vec<usize> {
    let is_meant = |node: &crate::onnx::proto::NodeProto| {
        let weights = node.input.iter().filter(|name| graph.constant(name).is_some());
        matcher.is_match(node.name()) || weights.into_iter().any(|name| matcher.is_match(name))
    };
    let outputs: std::collections::HashSet<&str> = (graph.proto.node.iter())
        .filter(|node| is_meant(node))
        .flat_map(|node| node.output.iter().map(String::as_str))
        .collect();
    let values = coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_none());
    let mut groups: Vec<usize> = values
        .filter(|tensor| outputs.contains(tensor.name.as_str()))
        .flat_map(|tensor| tensor.axes.iter().flatten())
        .flat_map(|axis| &axis.parts)
        .filter_map(|part| match part {
            Part::Leaf(leaf) => Some(coupling.leaves[*leaf as usize]),
            Part::Fixed(_) => None,
        })
        .flat_map(|leaf| &coupling.unit_of[leaf.first..leaf.first + leaf.size])
        .filter(|unit| **unit != NO_UNIT)
        .map(|unit| coupling.units[*unit as usize].group)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
