//! Channels that carry nothing, and channels that compute the same as another.
//!
//! Only groups are judged whose channels are made by nothing but weights that are known here, or read by nothing else:
//! a channel that also comes from or goes into an operator without weights may be alive there.

use std::collections::HashMap;

use super::slices::{Role, Slices};
use crate::onnx::graph::Graph;
use crate::prune::coupling::{Coupling, Layout, LeafId, NO_UNIT, Operands, Part};
use crate::spec::analysis::{DeadChannels, DuplicateChannels};

/// By group: whether everything that makes its channels, and everything that reads them, are weights.
#[derive(Clone, Debug)]
pub struct Ends {
    made_by_weights: Vec<bool>,
    read_by_weights: Vec<bool>,
}

impl Ends {
    /// Looks at every node that makes or reads a computed value with channels of a group.
    pub fn new(graph: &Graph<'_>, coupling: &Coupling, slices: &[Slices]) -> Self {
        let groups_of = groups_by_leaf(coupling);
        let operands = Operands::new(coupling);
        let groups = |layout: Option<&Layout>| -> Vec<usize> {
            let axes = layout.and_then(|layout| layout.axes.as_ref()).into_iter().flatten();
            let leaves = axes.flat_map(|axis| &axis.parts).filter_map(|part| match part {
                Part::Leaf(leaf) => Some(*leaf),
                Part::Fixed(_) => None,
            });
            leaves.flat_map(|leaf| groups_of[leaf as usize].iter().copied()).collect()
        };
        let mut weights: HashMap<(usize, Role), Vec<usize>> = HashMap::new();
        for slice in slices {
            weights.entry((slice.node, slice.role)).or_default().extend(&groups_of[slice.leaf as usize]);
        }
        let of = |node: usize, role: Role| weights.get(&(node, role)).map_or(&[][..], Vec::as_slice);
        let count = coupling.groups.len();
        let mut ends = Self { made_by_weights: vec![true; count], read_by_weights: vec![true; count] };
        for (index, node) in graph.proto.node.iter().enumerate() {
            let computed =
                |slot: usize| operands.input(index, node, slot).filter(|layout| layout.constant_use.is_none());
            let comes: Vec<usize> = (0..node.input.len()).flat_map(|slot| groups(computed(slot))).collect();
            let goes: Vec<usize> =
                (0..node.output.len()).flat_map(|slot| groups(operands.output(node, slot))).collect();
            for group in &goes {
                ends.made_by_weights[*group] &= comes.contains(group) || of(index, Role::Makes).contains(group);
            }
            for group in &comes {
                ends.read_by_weights[*group] &= goes.contains(group) || of(index, Role::Reads).contains(group);
            }
        }
        ends
    }
}

/// By leaf: the groups that have an index in it.
fn groups_by_leaf(coupling: &Coupling) -> Vec<Vec<usize>> {
    let group = |unit: &u32| (*unit != NO_UNIT).then(|| coupling.units[*unit as usize].group);
    let of_leaf = |leaf: &crate::prune::coupling::Leaf| {
        let mut groups: Vec<usize> =
            coupling.unit_of[leaf.first..leaf.first + leaf.size].iter().filter_map(group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    coupling.leaves.iter().map(of_leaf).collect()
}

/// The slices at the indices of a unit.
fn at<'s>(
    unit: &'s crate::prune::coupling::Unit,
    by_leaf: &'s HashMap<LeafId, Vec<&'s Slices>>,
) -> impl Iterator<Item = (&'s Slices, usize)> {
    unit.indices
        .iter()
        .flat_map(|(leaf, offset)| by_leaf.get(leaf).into_iter().flatten().map(|slices| (*slices, *offset as usize)))
}

/// The channels of each group that are made of zeros or read by zeros; groups without any are left out. `names` are those
/// of the groups.
pub fn dead(coupling: &Coupling, slices: &[Slices], ends: &Ends, names: &[String]) -> Vec<DeadChannels> {
    let by_leaf = by_leaf(slices);
    let mut found = Vec::new();
    for (id, group) in coupling.groups.iter().enumerate() {
        let all_zero = |role: Role| -> Vec<u64> {
            let zero = |unit: usize| {
                let mut zeros = at(&coupling.units[unit], &by_leaf)
                    .filter(|(slices, _)| slices.role == role)
                    .map(|(slices, index)| slices.zero[index])
                    .peekable();
                zeros.peek().is_some() && zeros.all(|zero| zero)
            };
            group.units.clone().enumerate().filter(|(_, unit)| zero(*unit)).map(|(place, _)| place as u64).collect()
        };
        let without_input = if ends.made_by_weights[id] { all_zero(Role::Makes) } else { Vec::new() };
        let without_output = if ends.read_by_weights[id] { all_zero(Role::Reads) } else { Vec::new() };
        if !without_input.is_empty() || !without_output.is_empty() {
            found.push(DeadChannels { group: names[id].clone(), without_input, without_output });
        }
    }
    found
}

/// The sets of channels of each group that everything that makes them makes alike; channels of zeros are not among them.
///
/// A convolution of several groups reads other channels with the same weights; those channels are in the same unit then,
/// and what makes them is compared too.
pub fn duplicates(coupling: &Coupling, slices: &[Slices], ends: &Ends, names: &[String]) -> Vec<DuplicateChannels> {
    let by_leaf = by_leaf(slices);
    let mut found = Vec::new();
    for (id, group) in coupling.groups.iter().enumerate().filter(|(id, _)| ends.made_by_weights[*id]) {
        let mut alike: HashMap<Vec<u64>, Vec<u64>> = HashMap::new();
        for (place, unit) in group.units.clone().enumerate() {
            let made: Vec<(&Slices, usize)> =
                at(&coupling.units[unit], &by_leaf).filter(|(slices, _)| slices.role != Role::Reads).collect();
            let makes = |slices: &&(&Slices, usize)| slices.0.role == Role::Makes;
            if made.iter().filter(makes).all(|(slices, index)| slices.zero[*index]) {
                continue;
            }
            let prints = made.iter().map(|(slices, index)| slices.prints[*index]).collect();
            alike.entry(prints).or_default().push(place as u64);
        }
        let mut sets: Vec<Vec<u64>> = alike.into_values().filter(|set| set.len() > 1).collect();
        sets.sort_unstable();
        if !sets.is_empty() {
            found.push(DuplicateChannels { group: names[id].clone(), sets });
        }
    }
    found
}

fn by_leaf(slices: &[Slices]) -> HashMap<LeafId, Vec<&Slices>> {
    let mut found: HashMap<LeafId, Vec<&Slices>> = HashMap::new();
    for slice in slices {
        found.entry(slice.leaf).or_default().push(slice);
    }
    found
}
