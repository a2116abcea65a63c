//! Groups that stay: connected indices with a freeze among them, put together as units are.

use std::collections::{BTreeMap, HashMap};

use super::factor::FactorId;
use super::frozen::{NONE, Reason};
use super::relations::Relations;
use super::rules::WINDOW;
use super::union::UnionFind;
use super::{Coupling, FrozenGroup, LeafId};
use crate::cost::is_parameter;

/// The frozen components that weights have a part in, those of the same axes and the same freeze as one group. The axes of
/// windows are no channels and left out.
pub fn frozen_groups(
    relations: &Relations<'_>,
    coupling: &Coupling,
    sets: &mut UnionFind,
    reasons: &[u32],
    texts: &[Reason],
) -> Vec<FrozenGroup> {
    // Root and leaf of every index; components are runs, their leaves in order.
    let mut indices: Vec<(u32, LeafId)> = Vec::new();
    for (id, leaf) in coupling.leaves.iter().enumerate() {
        for index in leaf.first..leaf.first + leaf.size {
            let root = sets.find(index);
            if reasons[root] != NONE && texts[reasons[root] as usize].text != WINDOW {
                indices.push((root as u32, id as LeafId));
            }
        }
    }
    indices.sort_by_key(|(root, _)| *root);
    let of_weights: Vec<bool> = coupling
        .members
        .iter()
        .map(|members| {
            let dtypes = members.iter().filter_map(|m| relations.inferred.dtype(&coupling.tensors[m.tensor].name));
            dtypes.into_iter().any(is_parameter)
        })
        .collect();
    let mut groups: BTreeMap<(Vec<LeafId>, u32), FrozenGroup> = BTreeMap::new();
    let values = frozen_values(relations);
    for component in indices.chunk_by(|a, b| a.0 == b.0) {
        let mut leaves: Vec<LeafId> = component.iter().map(|(_, leaf)| *leaf).collect();
        leaves.dedup();
        leaves.retain(|leaf| of_weights[*leaf as usize]);
        if leaves.is_empty() {
            continue;
        }
        let freeze = reasons[component[0].0 as usize];
        let group = groups.entry((leaves.clone(), freeze)).or_insert_with(|| {
            let reason = &texts[freeze as usize];
            let factor = relations.freezes.get(freeze as usize).map(|freeze| freeze.factor);
            FrozenGroup {
                leaves,
                counts: BTreeMap::new(),
                width: 0,
                operator: reason.operator.clone(),
                value: factor.and_then(|factor| values.get(&factor)).map(|name| (*name).to_owned()),
                reason: reason.text.clone(),
            }
        });
        group.width += 1;
        for (_, leaf) in component {
            *group.counts.entry(*leaf).or_default() += 1;
        }
    }
    groups.into_values().collect()
}

/// By axis: the tensor that has it.
fn frozen_values<'r>(relations: &'r Relations<'_>) -> HashMap<FactorId, &'r str> {
    let axes = relations
        .tensors
        .iter()
        .flat_map(|tensor| tensor.axes.iter().flatten().map(|axis| (*axis, tensor.name.as_str())));
    axes.collect()
}
