//! What the numbers in a graph have to be after a cut.
//!
//! Follows from the factors alone: the sizes of all values are known once it is known which indices stay. Where the cut
//! graph, inferred again, disagrees, the constant element that the number comes from is rewritten; a number that is
//! computed and comes out wrong cannot be, and its axis has to stay.

mod parts;
mod range;

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
}
