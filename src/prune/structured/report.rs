//! What a report says of a cut.

use super::Cut;
use crate::cost;
use crate::onnx::graph::Graph;
use crate::prune::allocate::Selection;
use crate::prune::coupling::{Coupling, Member, Part};
use crate::spec::report::{GroupMember, GroupReport};

/// That axes which are products of two groups lose a share of each, where there are such: less of them is left than of the
/// others.
pub fn cut_twice(coupling: &Coupling, selection: &Selection) -> Vec<String> {
    let mut axes = 0_usize;
    let mut least: Option<(f64, &str, usize)> = None;
    for tensor in coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
        for (axis, layout) in tensor.axes.iter().flatten().enumerate() {
            let shares: Vec<f64> = (layout.parts.iter())
                .filter_map(|part| match part {
                    Part::Leaf(leaf) => {
                        let (kept, all) =
                            (selection.widths[*leaf as usize] as usize, coupling.leaves[*leaf as usize].size);
                        (kept < all).then_some(kept as f64 / all as f64)
                    }
                    Part::Fixed(_) => None,
                })
                .collect();
            if shares.len() > 1 {
                axes += 1;
                let left: f64 = shares.iter().product();
                if least.is_none_or(|(least, ..)| left < least) {
                    least = Some((left, &tensor.name, axis));
                }
            }
        }
    }
    let note = |(left, name, axis): (f64, &str, usize)| {
        format!(
            "{axes} axes are products of two groups (heads and positions in a head, groups and channels in a group) and lose \
             a share of each: of axis {axis} of `{name}` {left:.2} is left; `exclude` or `bounds` leave one of them alone"
        )
    };
    least.map(note).into_iter().collect()
}

impl Cut {
    /// Every group with its members and widths.
    pub fn groups(&self) -> Vec<GroupReport> {
        let report = |at: usize| {
            let group = &self.coupling.groups[at];
            let mut members: Vec<GroupMember> = Vec::new();
            for Member { tensor, axis, .. } in
                group.leaves.iter().flat_map(|leaf| &self.coupling.members[*leaf as usize])
            {
                let member =
                    GroupMember { initializer: self.coupling.tensors[*tensor].name.clone(), axis: *axis as u64 };
                if !members.contains(&member) {
                    members.push(member);
                }
            }
            let kept = group.units.clone().filter(|unit| !self.selection.removed[*unit]).count();
            GroupReport {
                name: self.coupling.name_of(at).to_owned(),
                members,
                width_before: group.units.len() as u64,
                width_after: kept as u64,
            }
        };
        (0..self.coupling.groups.len()).map(report).collect()
    }

    /// Share of the channels in groups that went.
    pub fn removed(&self) -> f64 {
        self.selection.count() as f64 / self.coupling.units.len().max(1) as f64
    }

    /// Parameters that lie in an axis that can be cut, over all parameters.
    pub fn coverage(&self, graph: &Graph<'_>, parameters: u64) -> f64 {
        let mut names: Vec<&str> = self
            .coupling
            .groups
            .iter()
            .flat_map(|group| &group.leaves)
            .flat_map(|leaf| &self.coupling.members[*leaf as usize])
            .map(|member| self.coupling.tensors[member.tensor].name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let covered: usize = names
            .iter()
            .filter_map(|name| graph.constant(name)?.ok())
            .filter(|tensor| cost::is_parameter(tensor.dtype))
            .map(|tensor| tensor.len())
            .sum();
        covered as f64 / parameters.max(1) as f64
    }
}
