//! What each constant loses, from what its uses lose.
//!
//! Uses that are cut alike go on sharing the constant; uses that are cut otherwise get a copy.

use std::collections::HashMap;

use super::names::FreshNames;
use super::{AxisCut, Kinds, Tailor, TensorCut};
use crate::prune::coupling::Axis;

impl Tailor<'_> {
    /// What each constant loses, use by use: alike uses share, the first kind keeps the name unless a use loses nothing.
    pub(super) fn tensor_cuts(&self) -> Vec<TensorCut> {
        let mut names: Vec<&str> = Vec::new();
        let mut by_name: HashMap<&str, Kinds<Vec<AxisCut>>> = HashMap::new();
        for tensor in &self.coupling.tensors {
            let (Some((node, slot)), Some(axes)) = (tensor.constant_use, &tensor.axes) else { continue };
            let kinds = by_name.entry(&tensor.name).or_insert_with(|| {
                names.push(&tensor.name);
                Vec::new()
            });
            let cuts = self.axis_cuts(axes);
            let slot = self.slot(node, slot);
            match kinds.iter_mut().find(|(other, _)| *other == cuts) {
                Some((_, slots)) => slots.push(slot),
                None => kinds.push((cuts, vec![slot])),
            }
        }
        let mut fresh = FreshNames::new(self.graph);
        let mut found = Vec::new();
        for name in names {
            let Some(kinds) = by_name.remove(name) else { continue };
            let mut taken = self.is_read_elsewhere(name) || kinds.iter().any(|(cuts, _)| cuts.is_empty());
            for (axes, uses) in kinds.into_iter().filter(|(cuts, _)| !cuts.is_empty()) {
                let (becomes, uses) = if std::mem::replace(&mut taken, true) {
                    (fresh.after(name), uses)
                } else {
                    (name.to_owned(), Vec::new())
                };
                found.push(TensorCut { tensor: name.to_owned(), becomes, uses, axes, ..TensorCut::default() });
            }
        }
        found
    }

    /// Whether a constant is read by a subgraph or is an output.
    pub(super) fn is_read_elsewhere(&self, name: &str) -> bool {
        self.graph.is_output(name) || self.graph.uses(name).iter().any(|used| used.slot.is_none())
    }

    fn axis_cuts(&self, axes: &[Axis]) -> Vec<AxisCut> {
        let cut = |(axis, layout): (usize, &Axis)| {
            self.new_size(layout)?;
            let kept = self.kept_of(layout)?;
            let removed = (0..kept.len() as u32).filter(|index| !kept[*index as usize]).collect();
            Some(AxisCut { axis, size: kept.len(), removed })
        };
        axes.iter().enumerate().filter_map(cut).collect()
    }
}
