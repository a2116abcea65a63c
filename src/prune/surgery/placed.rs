//! A plan for a laid out model, told of the model as it was: each constant and node by its graph and its name or position
//! there, so that the cut can be done again, or checked, on the original file.

use super::plan::{AttributeRewrite, GraphStep, InputSlot, NumbersRewrite, Plan, TensorCut};
use crate::onnx::bodies::{Folded, LaidOut, Step};

impl Plan {
    /// The plan in terms of the original; `folded` has the names of the cut model.
    #[must_use]
    pub fn placed(self, laid_out: &LaidOut, folded: &Folded) -> Self {
        let slots = |uses: Vec<InputSlot>| uses.into_iter().map(|slot| slot_placed(slot, laid_out)).collect();
        let tensor = |cut: TensorCut| {
            let (way, name) = laid_out.constant(&cut.tensor);
            TensorCut {
                graph: steps(way),
                tensor: name.to_owned(),
                moves_out: !way.is_empty() && folded.is_outside(&cut.becomes),
                becomes: folded.name(&cut.becomes).to_owned(),
                uses: slots(cut.uses),
                axes: cut.axes,
            }
        };
        let numbers = |change: NumbersRewrite| {
            let constant = change.was.as_deref().map(|was| laid_out.constant(was));
            NumbersRewrite {
                graph: constant.map(|(way, _)| steps(way)).unwrap_or_default(),
                was: constant.map(|(_, name)| name.to_owned()),
                becomes: folded.name(&change.becomes).to_owned(),
                uses: slots(change.uses),
                ..change
            }
        };
        let attribute = |change: AttributeRewrite| match laid_out.place(change.node) {
            Some(place) => AttributeRewrite {
                graph: steps(laid_out.way(place)),
                node: place.node,
                label: place.label.clone(),
                ..change
            },
            None => change,
        };
        Self {
            tensors: self.tensors.into_iter().map(tensor).collect(),
            numbers: self.numbers.into_iter().map(numbers).collect(),
            attributes: self.attributes.into_iter().map(attribute).collect(),
        }
    }
}

fn slot_placed(slot: InputSlot, laid_out: &LaidOut) -> InputSlot {
    match laid_out.place(slot.node) {
        Some(place) => InputSlot {
            graph: steps(laid_out.way(place)),
            node: place.node,
            label: place.label.clone(),
            slot: slot.slot,
        },
        None => slot,
    }
}

fn steps(way: &[Step]) -> Vec<GraphStep> {
    let step =
        |step: &Step| GraphStep { node: step.node, label: step.label.clone(), attribute: step.attribute.clone() };
    way.iter().map(step).collect()
}
