//! The sizes of the parts that an axis is divided into, and of what is padded onto it.

use super::{Requirements, Visit, Whole};

impl Visit<'_> {
    /// Each part has as many elements as are kept of it.
    pub(super) fn split(&self, found: &mut Requirements) {
        let Some(layout) = self.tailor.input_layout(self.index, 0) else { return };
        let axis = self.node.int("axis").unwrap_or(0);
        let axis = (if axis < 0 { axis + layout.len() as i64 } else { axis }) as usize;
        let sizes: Option<Vec<i64>> = self
            .node
            .output
            .iter()
            .map(|output| Some(self.tailor.kept_value_axis(output, axis)?.iter().filter(|kept| **kept).count() as i64))
            .collect();
        let Some(sizes) = sizes else { return };
        let now: Option<Vec<i64>> =
            self.node.output.iter().map(|output| self.inferred.dims(output)?.get(axis)?.as_known()).collect();
        if now.as_ref() == Some(&sizes) {
            return;
        }
        if self.node.input_name(1).is_some() {
            let data = self.node.input_name(0).unwrap_or_default();
            let numbers = sizes.into_iter().map(|number| (number, (data.to_owned(), axis))).enumerate();
            self.change_where_other(found, numbers);
        } else if self.tailor.opset < 13 {
            found.wholes.push(Whole::Attribute { node: self.index, attribute: "split", integers: Some(sizes) });
        } else {
            found.wholes.push(Whole::Input { node: self.index, slot: 1, elements: sizes, shape: None });
            if self.node.find_attribute("num_outputs").is_some() {
                found.wholes.push(Whole::Attribute { node: self.index, attribute: "num_outputs", integers: None });
            }
        }
    }

    /// As many elements before and after as are kept of the padding.
    pub(super) fn pad(&self, found: &mut Requirements) {
        let Some(layout) = self.tailor.input_layout(self.index, 0) else { return };
        let known = |slot: usize| self.tailor.inferred.value(self.node.input_name(slot)?)?.known();
        let name = if self.tailor.opset < 2 { "paddings" } else { "pads" };
        let attribute = self.node.ints(name).map(<[i64]>::to_vec);
        let Some(pads) = attribute.clone().or_else(|| known(1)) else { return };
        let rank = layout.len() as i64;
        let axes = known(3).unwrap_or_else(|| (0..rank).collect());
        let mut wanted = pads.clone();
        let mut changes = Vec::new();
        for (at, axis) in axes.iter().enumerate() {
            let axis = (if *axis < 0 { axis + rank } else { *axis }) as usize;
            let (before, after) = (pads[at], pads[at + axes.len()]);
            if before < 0 || after < 0 || (before, after) == (0, 0) {
                continue;
            }
            let Some(kept) = self.tailor.kept_value_axis(self.output(), axis) else { continue };
            let count = |range: &[bool]| range.iter().filter(|kept| **kept).count() as i64;
            let (Some(head), Some(tail)) = (kept.get(..before as usize), kept.get(kept.len() - after as usize..))
            else {
                continue;
            };
            (wanted[at], wanted[at + axes.len()]) = (count(head), count(tail));
            let hold = || (self.output().to_owned(), axis);
            changes.extend([at, at + axes.len()].map(|element| (element, (wanted[element], hold()))));
        }
        if attribute.is_none() {
            self.change_where_other(found, changes);
        }
        if attribute.is_some() && wanted != pads {
            let attribute = if self.tailor.opset < 2 { "paddings" } else { "pads" };
            found.wholes.push(Whole::Attribute { node: self.index, attribute, integers: Some(wanted) });
        }
    }
}
