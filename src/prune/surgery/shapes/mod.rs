//! What the numbers in a graph have to be after a cut.
//!
//! Follows from the factors alone: the sizes of all values are known once it is known which indices stay. Where the cut
//! graph, inferred again, disagrees, the constant element that the number comes from is rewritten; a number that is
//! computed and comes out wrong is replaced by a constant where all that stands beside it is known, or can be left to the
//! operator (a 0 or -1 of `Reshape`). Where neither is possible the axis has to stay.

mod parts;
mod range;
mod target;

use super::Tailor;
use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::{Dim, Inferred};
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
    Attribute {
        node: NodeIndex,
        attribute: &'static str,
        integers: Option<Vec<i64>>,
    },
    /// Without a shape a list.
    Input {
        node: NodeIndex,
        slot: usize,
        elements: Vec<i64>,
        shape: Option<Vec<usize>>,
    },
}

/// Another number for an element of an input.
struct Change {
    element: usize,
    number: i64,
    /// The axis that stays where the number cannot be rewritten.
    hold: (String, usize),
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
            "Gather" => visit.gather(&mut found),
            "Slice" => visit.slice(&mut found),
            "Split" => visit.split(&mut found),
            "Pad" => visit.pad(&mut found),
            _ => {}
        }
    }
    for (node, slot) in &tailor.coupling.fixed_numbers {
        let visit = Visit { tailor, index: *node, node: tailor.graph.node(*node), cut, inferred };
        visit.fixed(&mut found, *slot);
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
        Some(value.elements.iter().map(Dim::as_known).collect())
    }

    fn output(&self) -> &str {
        self.node.output.first().map_or("", String::as_str)
    }

    fn hold(&self, found: &mut Requirements, value: &str, axis: usize, reason: &str) {
        let (value, operator) = (value.to_owned(), self.node.label());
        found.holds.push(Hold { value, axis, operator, reason: reason.to_owned() });
    }

    /// Whether all these elements are unchanged copies of a constant's.
    fn are_copies(&self, slot: usize, changes: &[Change]) -> bool {
        let value = self.node.input_name(slot).and_then(|name| self.tailor.inferred.value(name));
        let is_a_copy =
            |change: &Change| value.is_some_and(|value| value.origins.get(change.element).is_some_and(Option::is_some));
        changes.iter().all(is_a_copy)
    }

    /// Some elements of an input have to be other numbers.
    fn change(&self, found: &mut Requirements, slot: usize, changes: Vec<Change>) {
        let now = self.numbers_now(slot).and_then(|numbers| numbers.into_iter().collect::<Option<Vec<i64>>>());
        match now {
            Some(mut elements) if !self.are_copies(slot, &changes) => {
                for change in &changes {
                    if let Some(element) = elements.get_mut(change.element) {
                        *element = change.number;
                    }
                }
                found.wholes.push(Whole::Input { node: self.index, slot, elements, shape: None });
            }
            _ => found.elements.extend(changes.into_iter().map(|Change { element, number, hold }| Requirement {
                node: self.index,
                slot,
                element,
                number,
                hold,
            })),
        }
    }

    /// A number that is used as data stays what it was.
    fn fixed(&self, found: &mut Requirements, slot: usize) {
        let Some(value) = self.node.input_name(slot).and_then(|name| self.tailor.inferred.value(name)) else { return };
        let Some(elements) = value.known() else { return };
        let now = self.numbers_now(slot).and_then(|numbers| numbers.into_iter().collect::<Option<Vec<i64>>>());
        if now.as_ref() != Some(&elements) {
            found.wholes.push(Whole::Input { node: self.index, slot, elements, shape: Some(value.shape.clone()) });
        }
    }

    /// The second input's numbers, where they are not these already: by element the number and the axis it is for.
    fn change_where_other(
        &self,
        found: &mut Requirements,
        numbers: impl IntoIterator<Item = (usize, (i64, (String, usize)))>,
    ) {
        let now = self.numbers_now(1);
        let is = |element: usize| now.as_ref().and_then(|numbers| numbers.get(element).copied().flatten());
        let changes: Vec<Change> = numbers
            .into_iter()
            .filter(|(element, (number, _))| is(*element) != Some(*number))
            .map(|(element, (number, hold))| Change { element, number, hold })
            .collect();
        if !changes.is_empty() {
            self.change(found, 1, changes);
        }
    }
}
