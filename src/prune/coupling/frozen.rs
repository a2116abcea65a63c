//! Which indices stay, each with the first reason that holds it.

use super::numbering::Numbering;
use super::relations::Freeze;
use super::union::UnionFind;

/// Why an index that is a whole part of a joined axis stays.
const WHOLE_PART: &str = "removing it would remove a whole part";

/// Who keeps an index, and why.
pub struct Reason {
    pub operator: Option<String>,
    pub text: String,
}

/// For each index the reason that holds it, by position in `reasons`.
pub struct FrozenIndices {
    pub reasons: Vec<Reason>,
    by_index: Vec<u32>,
}

/// No freeze, no unit.
pub const NONE: u32 = u32::MAX;

impl FrozenIndices {
    /// What is frozen as a whole factor, among `count` indices.
    pub fn new(numbering: &Numbering<'_, '_>, count: usize) -> Self {
        let relations = numbering.relations;
        let mut by_index = vec![NONE; count];
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

    /// What is tied to an index that is not numbered stays with it.
    pub fn with(&mut self, index: usize, freeze: u32) {
        let slot = &mut self.by_index[index];
        *slot = freeze.min(*slot);
    }

    /// An index that is a whole part of a joined axis stays.
    pub fn index(&mut self, index: usize, operator: &str) {
        if self.by_index[index] != NONE {
            return;
        }
        self.by_index[index] = self.reasons.len() as u32;
        self.reasons.push(Reason { operator: Some(operator.to_owned()), text: WHOLE_PART.into() });
    }

    /// For each representative the first freeze of its set.
    pub fn spread(&self, sets: &mut UnionFind) -> Vec<u32> {
        let mut reasons = vec![NONE; self.by_index.len()];
        for (index, freeze) in self.by_index.iter().enumerate().filter(|(_, freeze)| **freeze != NONE) {
            let root = sets.find(index);
            reasons[root] = reasons[root].min(*freeze);
        }
        reasons
    }
}
