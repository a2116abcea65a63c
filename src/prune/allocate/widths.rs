//! A selection of units, the widths that it leaves, and rounding them to what the runtime is fast at.

use crate::onnx::graph::Graph;
use crate::prune::coupling::{Axis, Coupling, LeafId, NO_UNIT, Part};
use crate::prune::importance::is_contracted;

/// Axes longer than this are not looked at index by index; they are never cut.
const LONGEST_AXIS: usize = 1 << 28;

/// Which units go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// By unit.
    pub removed: Vec<bool>,
    /// By leaf: indices that stay.
    pub widths: Vec<u32>,
}

impl Selection {
    /// Nothing goes.
    pub fn none(coupling: &Coupling) -> Self {
        Self {
            removed: vec![false; coupling.units.len()],
            widths: coupling.leaves.iter().map(|leaf| leaf.size as u32).collect(),
        }
    }

    /// Takes a unit out.
    pub fn remove(&mut self, coupling: &Coupling, unit: usize) {
        if !std::mem::replace(&mut self.removed[unit], true) {
            for (leaf, _) in &coupling.units[unit].indices {
                self.widths[*leaf as usize] -= 1;
            }
        }
    }

    /// Puts a unit back.
    pub fn restore(&mut self, coupling: &Coupling, unit: usize) {
        if std::mem::replace(&mut self.removed[unit], false) {
            for (leaf, _) in &coupling.units[unit].indices {
                self.widths[*leaf as usize] += 1;
            }
        }
    }

    /// Whether every leaf would keep an index without the unit.
    pub fn leaves_something(&self, coupling: &Coupling, unit: usize) -> bool {
        let indices = &coupling.units[unit].indices;
        indices.chunk_by(|a, b| a.0 == b.0).all(|run| self.widths[run[0].0 as usize] as usize > run.len())
    }

    /// How many units go.
    pub fn count(&self) -> usize {
        self.removed.iter().filter(|removed| **removed).count()
    }

    /// For each index of an axis whether it stays; `None` where its size is open or too large to be cut.
    pub fn kept_of(&self, coupling: &Coupling, axis: &Axis) -> Option<Vec<bool>> {
        let size = |part: &Part| match part {
            Part::Leaf(leaf) => Some(coupling.leaves[*leaf as usize].size),
            Part::Fixed(size) => usize::try_from(size.as_known()?).ok(),
        };
        let whole = axis.parts.iter().try_fold(1_usize, |whole, part| whole.checked_mul(size(part)?));
        whole.filter(|whole| *whole <= LONGEST_AXIS)?;
        axis.parts.iter().try_fold(vec![true], |outer, part| {
            let inner: Vec<bool> = match part {
                Part::Leaf(leaf) => {
                    let leaf = coupling.leaves[*leaf as usize];
                    (leaf.first..leaf.first + leaf.size).map(|index| self.keeps(coupling, index)).collect()
                }
                Part::Fixed(_) => vec![true; size(part)?],
            };
            Some(outer.iter().flat_map(|outer| inner.iter().map(move |inner| *outer && *inner)).collect())
        })
    }

    /// Whether an index stays.
    pub fn keeps(&self, coupling: &Coupling, index: usize) -> bool {
        match coupling.unit_of[index] {
            NO_UNIT => true,
            unit => !self.removed[unit as usize],
        }
    }
}

/// Widths that have to be multiples.
#[derive(Clone, Debug)]
pub struct Rounding {
    /// Leaf, multiple, and its units from the best down; leaves of fewer groups first.
    leaves: Vec<(LeafId, u32, Vec<u32>)>,
    multiple_of: Vec<u32>,
}

impl Rounding {
    /// The leaves of the channel axes of contractions, where the runtime works in blocks of `multiple`. Where the axis is
    /// a product with factors that cannot be cut, those are taken into account.
    pub fn new(graph: &Graph<'_>, coupling: &Coupling, scores: &[f64], multiple: u32) -> Self {
        let mut multiple_of = vec![1; coupling.leaves.len()];
        for tensor in &coupling.tensors {
            let (Some((node, slot)), Some(axes)) = (tensor.constant_use, &tensor.axes) else { continue };
            if !is_contracted(graph, node, slot) {
                continue;
            }
            for axis in axes.iter().take(2) {
                for part in &axis.parts {
                    let Part::Leaf(leaf) = part else { continue };
                    let others = axis.parts.iter().filter(|other| *other != part).map(|other| match other {
                        Part::Leaf(other) if !coupling.is_cuttable(*other) => {
                            coupling.leaves[*other as usize].size as u32
                        }
                        _ => 1,
                    });
                    let step = multiple / gcd(multiple, others.fold(1, u32::saturating_mul));
                    let entry = &mut multiple_of[*leaf as usize];
                    *entry = (*entry).max(step);
                }
            }
        }
        let mut units: Vec<Vec<u32>> = vec![Vec::new(); coupling.leaves.len()];
        let mut groups = vec![0_usize; coupling.leaves.len()];
        for group in &coupling.groups {
            let mut touched: Vec<LeafId> = Vec::new();
            for unit in group.units.clone() {
                for (leaf, _) in &coupling.units[unit].indices {
                    let units = &mut units[*leaf as usize];
                    if units.last() != Some(&(unit as u32)) {
                        units.push(unit as u32);
                    }
                    touched.push(*leaf);
                }
            }
            touched.sort_unstable();
            touched.dedup();
            for leaf in touched {
                groups[leaf as usize] += 1;
            }
        }
        let mut leaves: Vec<(LeafId, u32, Vec<u32>)> = units
            .into_iter()
            .enumerate()
            .filter(|(leaf, units)| !units.is_empty() && multiple_of[*leaf] > 1)
            .map(|(leaf, mut units)| {
                units.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
                (leaf as LeafId, multiple_of[leaf], units)
            })
            .collect();
        leaves.sort_by_key(|(leaf, _, _)| (groups[*leaf as usize], *leaf));
        Self { leaves, multiple_of }
    }

    /// Puts units back, the best first, until every width is a multiple or whole. Units that upset no other width go first.
    pub fn round_up(&self, coupling: &Coupling, selection: &mut Selection) {
        loop {
            let mut changed = false;
            for (leaf, _, units) in &self.leaves {
                while !self.is_round(*leaf, selection, coupling, 0) {
                    let upset = |unit: u32| {
                        let indices = &coupling.units[unit as usize].indices;
                        indices
                            .chunk_by(|a, b| a.0 == b.0)
                            .filter(|run| {
                                self.is_round(run[0].0, selection, coupling, 0)
                                    && !self.is_round(run[0].0, selection, coupling, run.len() as u32)
                            })
                            .count()
                    };
                    let mut best: Option<(usize, u32)> = None;
                    for unit in units.iter().copied().filter(|unit| selection.removed[*unit as usize]) {
                        let upset = upset(unit);
                        if best.is_none_or(|(least, _)| upset < least) {
                            best = Some((upset, unit));
                        }
                        if upset == 0 {
                            break;
                        }
                    }
                    let Some((_, unit)) = best else { break };
                    selection.restore(coupling, unit as usize);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn is_round(&self, leaf: LeafId, selection: &Selection, coupling: &Coupling, more: u32) -> bool {
        let width = selection.widths[leaf as usize] + more;
        width.is_multiple_of(self.multiple_of[leaf as usize]) || width as usize >= coupling.leaves[leaf as usize].size
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
