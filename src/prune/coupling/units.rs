//! From related axes to units: connected indices that can only go together, and the groups that units form.

use std::collections::{BTreeMap, HashMap};

use super::factor::FactorId;
use super::relations::{Freeze, Relations};
use super::settle::LeafPick;
use super::union::UnionFind;
use super::{Axis, Coupling, Group, Layout, Leaf, LeafId, Member, NO_UNIT, Part, Unit};
use crate::spec::report::Frozen;

/// Why an index that is a whole part of a joined axis stays.
const WHOLE_PART: &str = "removing it would remove a whole part";

/// Everything that is needed to number the indices.
struct Numbering<'r, 'g> {
    relations: &'r Relations<'g>,
    ids: HashMap<FactorId, LeafId>,
    leaves: Vec<Leaf>,
}

/// Numbers the indices of all factors of known size, ties and freezes them, and reads off the units.
pub fn units(relations: &Relations<'_>, picks: &[LeafPick]) -> Coupling {
    let mut numbering = Numbering { relations, ids: HashMap::new(), leaves: Vec::new() };
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
    let mut sets = UnionFind::new(numbering.index_count());
    let mut frozen = FrozenIndices::new(&numbering);
    for pick in picks {
        numbering.tie(pick, &mut sets, &mut frozen);
    }
    let mut coupling = Coupling {
        tensors,
        leaves: numbering.leaves,
        counts,
        unit_of: Vec::new(),
        units: Vec::new(),
        groups: Vec::new(),
        members: Vec::new(),
        frozen: Vec::new(),
    };
    coupling.members = members(&coupling);
    let reasons = frozen.spread(&mut sets);
    collect_units(&mut coupling, &mut sets, &reasons);
    coupling.frozen = report(relations, &coupling, &mut sets, &reasons, &frozen.reasons);
    coupling
}

impl Numbering<'_, '_> {
    fn index_count(&self) -> usize {
        self.leaves.last().map_or(0, |leaf| leaf.first + leaf.size)
    }

    fn axis(&mut self, axis: FactorId) -> Axis {
        let parts = self.relations.factors.leaves(&[axis]).into_iter().map(|leaf| self.part(leaf)).collect();
        Axis { parts }
    }

    fn part(&mut self, leaf: FactorId) -> Part {
        let size = self.relations.factors.size(leaf);
        match size.as_known().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => Part::Leaf(*self.ids.entry(leaf).or_insert_with(|| {
                let first = self.leaves.last().map_or(0, |leaf: &Leaf| leaf.first + leaf.size);
                self.leaves.push(Leaf { size, first });
                self.leaves.len() as LeafId - 1
            })),
            None => Part::Fixed(size.clone()),
        }
    }

    fn leaf(&self, factor: FactorId) -> Option<Leaf> {
        self.ids.get(&factor).map(|id| self.leaves[*id as usize])
    }

    fn tie(&self, pick: &LeafPick, sets: &mut UnionFind, frozen: &mut FrozenIndices) {
        let side = |factor: Option<FactorId>| factor.map(|factor| self.leaf(factor));
        match (side(pick.from), side(pick.to)) {
            (Some(Some(from)), Some(Some(to))) => {
                for i in 0..pick.count {
                    let source = (pick.start as isize + i as isize * pick.step) as usize;
                    sets.union(from.first + source, to.first + pick.at + i);
                }
            }
            (Some(Some(leaf)), None) => frozen.index(leaf.first + pick.start, &pick.operator),
            (None, Some(Some(leaf))) => frozen.index(leaf.first + pick.at, &pick.operator),
            _ => {}
        }
    }
}

/// Who keeps an index, and why.
struct Reason {
    operator: Option<String>,
    text: String,
}

/// For each index the reason that holds it, by position in `reasons`.
struct FrozenIndices {
    reasons: Vec<Reason>,
    by_index: Vec<u32>,
}

/// No freeze, no unit.
const NONE: u32 = u32::MAX;

impl FrozenIndices {
    fn new(numbering: &Numbering<'_, '_>) -> Self {
        let relations = numbering.relations;
        let mut by_index = vec![NONE; numbering.index_count()];
        for (at, freeze) in relations.freezes.iter().enumerate() {
            for leaf in relations.factors.leaves(&[freeze.factor]).into_iter().filter_map(|leaf| numbering.leaf(leaf)) {
                for slot in by_index[leaf.first..leaf.first + leaf.size].iter_mut().filter(|slot| **slot == NONE) {
                    *slot = at as u32;
                }
            }
        }
        let reason = |freeze: &Freeze| Reason { operator: freeze.operator.clone(), text: freeze.reason.clone() };
        Self { reasons: relations.freezes.iter().map(reason).collect(), by_index }
    }

    fn index(&mut self, index: usize, operator: &str) {
        if self.by_index[index] != NONE {
            return;
        }
        self.by_index[index] = self.reasons.len() as u32;
        self.reasons.push(Reason { operator: Some(operator.to_owned()), text: WHOLE_PART.into() });
    }

    /// For each representative the first freeze of its set.
    fn spread(&self, sets: &mut UnionFind) -> Vec<u32> {
        let mut reasons = vec![NONE; self.by_index.len()];
        for (index, freeze) in self.by_index.iter().enumerate().filter(|(_, freeze)| **freeze != NONE) {
            let root = sets.find(index);
            reasons[root] = reasons[root].min(*freeze);
        }
        reasons
    }
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
