//! What the numbers in a graph have to be after a cut.
//!
//! Follows from the factors alone: the sizes of all values are known once it is known which indices stay. Where the cut
//! graph, inferred again, disagrees, the constant element that the number comes from is rewritten; a number that is
//! computed and comes out wrong cannot be, and its axis has to stay.

use super::Tailor;
use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::Inferred;
use crate::prune::coupling::Hold;

/// A number that an input of a node has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub node: NodeIndex,
    pub slot: usize,
    pub element: usize,
    pub number: i64,
    /// The axis that stays where the number cannot be rewritten.
    pub hold: (String, usize),
}

/// An attribute (of older operator sets) or a whole input that has to have these numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    Attribute { node: NodeIndex, attribute: &'static str, integers: Option<Vec<i64>> },
    Input { node: NodeIndex, slot: usize, elements: Vec<i64> },
}

/// What has to change.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    pub elements: Vec<Requirement>,
    pub wholes: Vec<Whole>,
    pub holds: Vec<Hold>,
}

/// Visits every node that reads shapes, bounds, pads or counts. `inferred` is of the cut model as it stands now.
pub fn requirements(tailor: &Tailor<'_>, cut: &Model, inferred: &Inferred) -> Requirements {
    let mut found = Requirements::default();
    for (index, node) in tailor.graph.proto.node.iter().enumerate() {
        if !node.operator_domain().is_empty() {
            continue;
        }
        let visit = Visit { tailor, index, node, cut, inferred };
        match node.op_type() {
            "Reshape" | "Expand" => visit.target(&mut found, 1),
            "ConstantOfShape" => visit.target(&mut found, 0),
            "Resize" if node.input_name(3).is_some() => visit.target(&mut found, 3),
            "Slice" => visit.slice(&mut found),
            "Split" => visit.split(&mut found),
            "Pad" => visit.pad(&mut found),
            _ => {}
        }
    }
    for (node, attribute, axis) in &tailor.coupling.counts {
        let Some(size) = tailor.new_size(axis).and_then(|size| size.as_known()) else { continue };
        found.wholes.push(Whole::Attribute { node: *node, attribute, integers: Some(vec![size]) });
    }
    found
}

struct Visit<'v> {
    tailor: &'v Tailor<'v>,
    index: NodeIndex,
    node: &'v NodeProto,
    cut: &'v Model,
    inferred: &'v Inferred,
}

impl Visit<'_> {
    /// The input's name in the cut model.
    fn input_now(&self, slot: usize) -> Option<&str> {
        self.cut.graph_proto().node.get(self.index)?.input_name(slot)
    }

    /// The known numbers of an input in the cut model.
    fn numbers_now(&self, slot: usize) -> Option<Vec<Option<i64>>> {
        let value = self.inferred.value(self.input_now(slot)?)?;
        Some(value.elements.iter().map(crate::onnx::shape::Dim::as_known).collect())
    }

    fn output(&self) -> &str {
        self.node.output.first().map_or("", String::as_str)
    }

    fn element(&self, found: &mut Requirements, slot: usize, element: usize, number: i64, hold: (&str, usize)) {
        let hold = (hold.0.to_owned(), hold.1);
        found.elements.push(Requirement { node: self.index, slot, element, number, hold });
    }

    fn hold(&self, found: &mut Requirements, value: &str, axis: usize, reason: &str) {
        let (value, operator) = (value.to_owned(), self.node.label());
        found.holds.push(Hold { value, axis, operator, reason: reason.to_owned() });
    }

    /// A shape that the output has to get. `-1` and `0` stay where the size comes out right; a `-1` that comes out wrong
    /// does so because of another number, which is required instead.
    fn target(&self, found: &mut Requirements, slot: usize) {
        let Some(expected) = self.tailor.expected(self.output()) else { return };
        let actual = self.inferred.dims(self.output());
        let numbers = self.numbers_now(slot);
        for (axis, size) in expected.iter().enumerate() {
            let Some(size) = size else { continue };
            let number = numbers.as_ref().and_then(|numbers| numbers.get(axis).copied().flatten());
            if actual.and_then(|dims| dims.get(axis)) == Some(size) || number == Some(-1) {
                continue;
            }
            match size.as_known() {
                Some(size) => self.element(found, slot, axis, size, (self.output(), axis)),
                None => self.hold(found, self.output(), axis, "its size is computed when the model runs"),
            }
        }
    }

    /// The kept range lies where the kept elements before it end.
    fn slice(&self, found: &mut Requirements) {
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
            self.bound(found, 1, at, new_start, size, (data, axis));
            self.bound(found, 2, at, new_end, size, (data, axis));
        }
        if let Some((starts, ends)) = attributes.filter(|_| changed) {
            found.wholes.push(Whole::Attribute { node: self.index, attribute: "starts", integers: Some(starts) });
            found.wholes.push(Whole::Attribute { node: self.index, attribute: "ends", integers: Some(ends) });
        }
    }

    /// A bound that already means the wanted position stays.
    fn bound(&self, found: &mut Requirements, slot: usize, at: usize, wanted: i64, size: i64, hold: (&str, usize)) {
        let clamp = |bound: i64| (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(-1, size);
        let now = self.numbers_now(slot).and_then(|numbers| numbers.get(at).copied().flatten());
        if now.map(clamp) != Some(clamp(wanted)) {
            self.element(found, slot, at, wanted, hold);
        }
    }

    /// Each part has as many elements as are kept of it.
    fn split(&self, found: &mut Requirements) {
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
            for (element, size) in sizes.into_iter().enumerate() {
                if self.numbers_now(1).and_then(|numbers| numbers.get(element).copied().flatten()) != Some(size) {
                    self.element(found, 1, element, size, (self.node.input_name(0).unwrap_or_default(), axis));
                }
            }
        } else if self.tailor.opset < 13 {
            found.wholes.push(Whole::Attribute { node: self.index, attribute: "split", integers: Some(sizes) });
        } else {
            found.wholes.push(Whole::Input { node: self.index, slot: 1, elements: sizes });
            if self.node.find_attribute("num_outputs").is_some() {
                found.wholes.push(Whole::Attribute { node: self.index, attribute: "num_outputs", integers: None });
            }
        }
    }

    /// As many elements before and after as are kept of the padding.
    fn pad(&self, found: &mut Requirements) {
        let Some(layout) = self.tailor.input_layout(self.index, 0) else { return };
        let known = |slot: usize| self.tailor.inferred.value(self.node.input_name(slot)?)?.known();
        let name = if self.tailor.opset < 2 { "paddings" } else { "pads" };
        let attribute = self.node.ints(name).map(<[i64]>::to_vec);
        let Some(pads) = attribute.clone().or_else(|| known(1)) else { return };
        let rank = layout.len() as i64;
        let axes = known(3).unwrap_or_else(|| (0..rank).collect());
        let mut wanted = pads.clone();
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
            if attribute.is_none() {
                for element in [at, at + axes.len()] {
                    if self.numbers_now(1).and_then(|numbers| numbers.get(element).copied().flatten())
                        != Some(wanted[element])
                    {
                        self.element(found, 1, element, wanted[element], (self.output(), axis));
                    }
                }
            }
        }
        if attribute.is_some() && wanted != pads {
            let attribute = if self.tailor.opset < 2 { "paddings" } else { "pads" };
            found.wholes.push(Whole::Attribute { node: self.index, attribute, integers: Some(wanted) });
        }
    }
}
