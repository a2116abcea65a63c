//! Which groups compete with each other.

use std::collections::BTreeMap;

use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::spec::prune::Scope;

/// For each group the number of its class; groups of one class compete, and each class gives the same share.
///
/// Groups have the same structure where the same operators use their channels in the same places equally often, whatever
/// the sizes are: as rows or columns of a weight, as a bias, as the scale of a normalisation.
/// Source: Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024. Differs: they compare the coupled subgraphs, we
/// what these subgraphs do to constants, which is all that is cut.
pub fn classes(graph: &Graph<'_>, coupling: &Coupling, scope: Scope) -> Vec<usize> {
    match scope {
        Scope::Global => vec![0; coupling.groups.len()],
        Scope::Local => (0..coupling.groups.len()).collect(),
        Scope::Isomorphic => {
            let mut numbers: BTreeMap<Vec<Place<'_>>, usize> = BTreeMap::new();
            let structures = (0..coupling.groups.len()).map(|group| structure(graph, coupling, group));
            structures
                .map(|places| {
                    let next = numbers.len();
                    *numbers.entry(places).or_insert(next)
                })
                .collect()
        }
    }
}

/// Operator, whether it works on groups of channels, input slot, axis and position in the axis of one use.
type Place<'g> = (&'g str, bool, usize, usize, usize);

fn structure<'g>(graph: &Graph<'g>, coupling: &Coupling, group: usize) -> Vec<Place<'g>> {
    let members = coupling.groups[group].leaves.iter().flat_map(|leaf| &coupling.members[*leaf as usize]);
    let mut places: Vec<Place<'g>> = members
        .filter_map(|member| {
            let (node, slot) = coupling.tensors[member.tensor].constant_use?;
            let node = graph.node(node);
            Some((node.op_type(), node.int("group").unwrap_or(1) > 1, slot, member.axis, member.position))
        })
        .collect();
    places.sort_unstable();
    places
}
