//! Numbers for the indices of all factors of known size, and the ties between them.
//!
//! Factors that stay as wholes and that no constant has are not numbered: a graph may declare its inputs as large as it
//! likes. What is tied to them stays as if they were.

use std::collections::HashMap;

use super::factor::FactorId;
use super::frozen::FrozenIndices;
use super::relations::Relations;
use super::settle::LeafPick;
use super::union::UnionFind;
use super::{Axis, Leaf, LeafId, Part};

/// Everything that is needed to number the indices.
pub struct Numbering<'r, 'g> {
    pub relations: &'r Relations<'g>,
    ids: HashMap<FactorId, LeafId>,
    pub leaves: Vec<Leaf>,
    /// Factors that are not numbered because they stay as wholes, with the position of their freeze.
    held: HashMap<FactorId, u32>,
}

/// Indices that are numbered at most. Each takes four bytes in some ten lists; networks have thousands, those with large
/// vocabularies some hundred thousand.
const MOST_INDICES: usize = 1 << 24;

/// There are too many indices to number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the axes of the model have {found} indices together; at most {most} can be told apart")]
pub struct TooManyIndices {
    pub found: usize,
    pub most: usize,
}

impl<'r, 'g> Numbering<'r, 'g> {
    /// Nothing is numbered yet.
    pub fn new(relations: &'r Relations<'g>) -> Self {
        Self { relations, ids: HashMap::new(), leaves: Vec::new(), held: held(relations) }
    }

    /// How many indices have a number.
    ///
    /// Errors: there are more than [`MOST_INDICES`].
    pub fn index_count(&self) -> Result<usize, TooManyIndices> {
        let found = self.next();
        if found <= MOST_INDICES { Ok(found) } else { Err(TooManyIndices { found, most: MOST_INDICES }) }
    }

    fn next(&self) -> usize {
        self.leaves.last().map_or(0, |leaf| leaf.first.saturating_add(leaf.size))
    }

    /// An axis as its factors, which get their numbers here.
    pub fn axis(&mut self, axis: FactorId) -> Axis {
        let parts = self.relations.factors.leaves(&[axis]).into_iter().map(|leaf| self.part(leaf)).collect();
        Axis { parts }
    }

    fn part(&mut self, leaf: FactorId) -> Part {
        let size = self.relations.factors.size(leaf);
        let numbered = size.as_known().filter(|_| !self.held.contains_key(&leaf));
        let first = self.next();
        match numbered.and_then(|size| usize::try_from(size).ok()) {
            Some(size) => Part::Leaf(*self.ids.entry(leaf).or_insert_with(|| {
                self.leaves.push(Leaf { size, first });
                self.leaves.len() as LeafId - 1
            })),
            None => Part::Fixed(size.clone()),
        }
    }

    /// The numbers of a factor; `None` where it has none.
    pub fn leaf(&self, factor: FactorId) -> Option<Leaf> {
        self.ids.get(&factor).map(|id| self.leaves[*id as usize])
    }

    /// Ties or freezes the indices that a pick moves.
    pub fn tie(&self, pick: &LeafPick, sets: &mut UnionFind, frozen: &mut FrozenIndices) {
        let side = |factor: Option<FactorId>| factor.map(|factor| self.leaf(factor));
        let (source, count) = (|i: usize| pick.sources.get(i), pick.sources.count());
        let hold = |factor: Option<FactorId>| factor.and_then(|factor| self.held.get(&factor)).copied();
        match (side(pick.from), side(pick.to)) {
            (Some(Some(from)), Some(Some(to))) => {
                (0..count).for_each(|i| sets.union(from.first + source(i), to.first + pick.at + i));
            }
            (Some(Some(from)), Some(None)) => {
                if let Some(freeze) = hold(pick.to) {
                    (0..count).for_each(|i| frozen.with(from.first + source(i), freeze));
                }
            }
            (Some(None), Some(Some(to))) => {
                if let Some(freeze) = hold(pick.from) {
                    (0..count).for_each(|i| frozen.with(to.first + pick.at + i, freeze));
                }
            }
            (Some(Some(leaf)), None) => (0..count).for_each(|i| frozen.index(leaf.first + source(i), &pick.operator)),
            (None, Some(Some(leaf))) => frozen.index(leaf.first + pick.at, &pick.operator),
            _ => {}
        }
    }
}

/// Leaves that are frozen as wholes and stand in no constant, with the first freeze of each.
fn held(relations: &Relations<'_>) -> HashMap<FactorId, u32> {
    let mut held = HashMap::new();
    for (at, freeze) in relations.freezes.iter().enumerate() {
        for leaf in relations.factors.leaves(&[freeze.factor]) {
            held.entry(leaf).or_insert(at as u32);
        }
    }
    for tensor in relations.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
        for leaf in relations.factors.leaves(tensor.axes.as_deref().unwrap_or_default()) {
            held.remove(&leaf);
        }
    }
    held
}
