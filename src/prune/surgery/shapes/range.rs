//! The bounds of slices and the indices of selections after a cut.

use super::{Change, Requirements, Visit, Whole};

impl Visit<'_> {
    /// The kept range lies where the kept elements before it end.
    pub(super) fn slice(&self, found: &mut Requirements) {
        let data = self.node.input_name(0).unwrap_or_default();
        let Some(layout) = self.tailor.input_layout(self.index, 0) else { return };
        let rank = layout.len() as i64;
        let by_attribute = self.node.ints("starts").is_some();
        let original = |attribute: &str, slot: usize| match self.node.ints(attribute) {
            Some(numbers) => Some(numbers.iter().map(|number| Some(*number)).collect::<Vec<_>>()),
            None => self
                .tailor
                .inferred
                .value(self.node.input_name(slot)?)
                .map(|value| value.elements.iter().map(crate::onnx::shape::Dim::as_known).collect()),
        };
        let Some(starts) = original("starts", 1) else { return };
        let axes = original("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).map(Some).collect());
        let steps = original("steps", 4).unwrap_or_else(|| vec![Some(1); axes.len()]);
        let mut attributes = by_attribute.then(|| {
            (self.node.ints("starts").unwrap_or_default().to_vec(), self.node.ints("ends").unwrap_or_default().to_vec())
        });
        let mut changed = false;
        let mut bounds = [Vec::new(), Vec::new()];
        for (at, axis) in axes.iter().enumerate() {
            let Some(axis) =
                axis.map(|axis| if axis < 0 { axis + rank } else { axis }).and_then(|axis| usize::try_from(axis).ok())
            else {
                continue;
            };
            let (Some(from), Some(to)) =
                (self.tailor.kept_axis(layout, axis), self.tailor.kept_value_axis(self.output(), axis))
            else {
                continue;
            };
            if from.iter().all(|kept| *kept) && to.iter().all(|kept| *kept) {
                continue;
            }
            let (Some(start), Some(Some(step))) = (starts[at], steps.get(at)) else {
                self.hold(found, data, axis, "the bounds of the slice are not known before the graph runs");
                continue;
            };
            let whole = from.len() as i64;
            let start =
                (if start < 0 { start.saturating_add(whole) } else { start }).clamp(0, whole - i64::from(*step < 0));
            let count = to.iter().filter(|kept| **kept).count() as i64;
            let before = |index: i64| from[..index.max(0) as usize].iter().filter(|kept| **kept).count() as i64;
            // Backwards the range starts at the last kept element up to `start` and ends before the first that is left.
            let (new_start, new_end) = if *step > 0 {
                (before(start), before(start) + count)
            } else {
                (before(start + 1) - 1, before(start + 1) - 1 - count)
            };
            let size = before(whole);
            let new_end = if new_end < 0 { -size - 1 } else { new_end };
            if let Some((starts, ends)) = &mut attributes {
                (starts[at], ends[at]) = (new_start, new_end);
                changed = true;
                continue;
            }
            let hold = (data.to_owned(), axis);
            bounds[0].extend(self.bound(1, at, new_start, size, hold.clone()));
            bounds[1].extend(self.bound(2, at, new_end, size, hold));
        }
        for (slot, changes) in [1, 2].into_iter().zip(bounds).filter(|(_, changes)| !changes.is_empty()) {
            self.change(found, slot, changes);
        }
        if let Some((starts, ends)) = attributes.filter(|_| changed) {
            found.wholes.push(Whole::Attribute { node: self.index, attribute: "starts", integers: Some(starts) });
            found.wholes.push(Whole::Attribute { node: self.index, attribute: "ends", integers: Some(ends) });
        }
    }

    /// A list of indices counts what is kept before each, and goes on without what is gone.
    pub(super) fn gather(&self, found: &mut Requirements) {
        let Some(layout) = self.tailor.input_layout(self.index, 0) else { return };
        let axis = self.node.int("axis").unwrap_or(0).rem_euclid(layout.len().max(1) as i64) as usize;
        let Some(indices) = self.node.input_name(1).and_then(|name| self.tailor.inferred.value(name)) else { return };
        let (Some(from), Some(to), Some(numbers), [_]) = (
            self.tailor.kept_axis(layout, axis),
            self.tailor.kept_value_axis(self.output(), axis),
            indices.known(),
            indices.shape.as_slice(),
        ) else {
            return;
        };
        if from.iter().chain(&to).all(|kept| *kept) || numbers.len() != to.len() {
            return;
        }
        let position = |index: i64| index.rem_euclid(from.len() as i64) as usize;
        let before = |index: i64| from[..position(index)].iter().filter(|kept| **kept).count() as i64;
        let kept = numbers.into_iter().zip(&to).filter(|(_, kept)| **kept);
        let elements: Vec<i64> = kept.map(|(index, _)| before(index)).collect();
        let now = self.numbers_now(1).and_then(|numbers| numbers.into_iter().collect::<Option<Vec<i64>>>());
        if now.as_ref() != Some(&elements) {
            found.wholes.push(Whole::Input { node: self.index, slot: 1, elements, shape: None });
        }
    }

    /// A bound that already means the wanted position stays.
    fn bound(&self, slot: usize, at: usize, wanted: i64, size: i64, hold: (String, usize)) -> Option<Change> {
        let clamp = |bound: i64| (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(-1, size);
        let now = self.numbers_now(slot).and_then(|numbers| numbers.get(at).copied().flatten());
        (now.map(clamp) != Some(clamp(wanted))).then_some(Change { element: at, number: wanted, hold })
    }
}
