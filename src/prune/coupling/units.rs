//! From related axes to units: connected indices that can only go together, and the groups that units form.

use std::collections::BTreeMap;

use super::frozen::{FrozenIndices, NONE, Reason};
use super::held::frozen_groups;
use super::numbering::{Numbering, TooManyIndices};
use super::relations::Relations;
use super::settle::LeafPick;
use super::union::UnionFind;
use super::{Coupling, Group, Layout, LeafId, Member, NO_UNIT, Part, Unit};
use crate::spec::report::Frozen;

/// Numbers the indices of all factors of known size, ties and freezes them, and reads off the units.
///
/// Errors: there are too many of them.
pub fn units(relations: &Relations<'_>, picks: &[LeafPick]) -> Result<Coupling, TooManyIndices> {
    let mut numbering = Numbering::new(relations);
    let tensors: Vec<Layout> = relations
        .tensors
        .iter()
        .map(|tensor| Layout {
            name: tensor.name.clone(),
            constant_use: tensor.constant_use,
            axes: tensor.axes.as_ref().map(|axes| axes.iter().map(|axis| numbering.axis(*axis)).collect()),
        })
        .collect();
    let counts =
        relations.counts.iter().map(|count| (count.node, count.attribute, numbering.axis(count.factor))).collect();
    let count = numbering.index_count()?;
    let mut sets = UnionFind::new(count);
    let mut frozen = FrozenIndices::new(&numbering, count);
    for pick in picks {
        numbering.tie(pick, &mut sets, &mut frozen);
    }
    let mut coupling = Coupling {
        tensors,
        leaves: numbering.leaves,
        counts,
        fixed_numbers: relations.fixed_numbers.clone(),
        unit_of: Vec::new(),
        units: Vec::new(),
        groups: Vec::new(),
        members: Vec::new(),
        frozen: Vec::new(),
        frozen_groups: Vec::new(),
    };
    coupling.members = members(&coupling);
    let reasons = frozen.spread(&mut sets);
    collect_units(&mut coupling, &mut sets, &reasons);
    coupling.frozen = report(relations, &coupling, &mut sets, &reasons, &frozen.reasons);
    coupling.frozen_groups = frozen_groups(relations, &coupling, &mut sets, &reasons, &frozen.reasons);
    Ok(coupling)
}

/// Uses of constants whose axes hold each leaf.
fn members(coupling: &Coupling) -> Vec<Vec<Member>> {
    let mut members = vec![Vec::new(); coupling.leaves.len()];
    for (id, tensor) in coupling.tensors.iter().enumerate() {
        let Some(axes) = tensor.axes.as_ref().filter(|_| tensor.constant_use.is_some()) else { continue };
        for (axis, layout) in axes.iter().enumerate() {
            for (position, part) in layout.parts.iter().enumerate() {
                if let Part::Leaf(leaf) = part {
                    members[*leaf as usize].push(Member { tensor: id, axis, position });
                }
            }
        }
    }
    members
}

/// Components without a freeze and with a weight to remove, in the order of their smallest index.
fn collect_units(coupling: &mut Coupling, sets: &mut UnionFind, reasons: &[u32]) {
    let count = coupling.leaves.last().map_or(0, |leaf| leaf.first + leaf.size);
    let mut unit_of_root = vec![NO_UNIT; count];
    let mut units: Vec<Unit> = Vec::new();
    for (leaf_id, leaf) in coupling.leaves.iter().enumerate() {
        for offset in 0..leaf.size {
            let root = sets.find(leaf.first + offset);
            if reasons[root] != NONE {
                continue;
            }
            if unit_of_root[root] == NO_UNIT {
                unit_of_root[root] = units.len() as u32;
                units.push(Unit { group: 0, indices: Vec::new() });
            }
            units[unit_of_root[root] as usize].indices.push((leaf_id as LeafId, offset as u32));
        }
    }
    let mut groups: BTreeMap<Vec<LeafId>, Vec<Unit>> = BTreeMap::new();
    for unit in units {
        let mut key: Vec<LeafId> = unit
            .indices
            .iter()
            .map(|(leaf, _)| *leaf)
            .filter(|leaf| !coupling.members[*leaf as usize].is_empty())
            .collect();
        key.dedup();
        if !key.is_empty() {
            groups.entry(key).or_default().push(unit);
        }
    }
    coupling.unit_of = vec![NO_UNIT; count];
    for (leaves, units) in groups {
        let group = coupling.groups.len();
        let first = coupling.units.len();
        for mut unit in units {
            unit.group = group;
            for (leaf, offset) in &unit.indices {
                coupling.unit_of[coupling.leaves[*leaf as usize].first + *offset as usize] =
                    coupling.units.len() as u32;
            }
            coupling.units.push(unit);
        }
        coupling.groups.push(Group { leaves, units: first..coupling.units.len() });
    }
}

/// What was left alone among the weights, one entry an axis.
fn report(
    relations: &Relations<'_>,
    coupling: &Coupling,
    sets: &mut UnionFind,
    reasons: &[u32],
    texts: &[Reason],
) -> Vec<Frozen> {
    let mut found = Vec::new();
    for tensor in coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
        let (Some(axes), Some(dtype)) = (&tensor.axes, relations.inferred.dtype(&tensor.name)) else { continue };
        if axes.len() < 2 || !dtype.is_float() {
            continue;
        }
        for (axis, layout) in axes.iter().enumerate() {
            let held = layout.parts.iter().find_map(|part| {
                let Part::Leaf(leaf) = part else { return None };
                let leaf = coupling.leaves[*leaf as usize];
                (leaf.first..leaf.first + leaf.size)
                    .map(|index| reasons[sets.find(index)])
                    .find(|reason| *reason != NONE)
            });
            if let Some(freeze) = held.map(|at| &texts[at as usize])
                && freeze.text != super::rules::WINDOW
            {
                let what = format!("{} (axis {axis})", tensor.name);
                found.push(Frozen { what, operator: freeze.operator.clone(), reason: freeze.text.clone() });
            }
        }
    }
    found.dedup();
    found
}
