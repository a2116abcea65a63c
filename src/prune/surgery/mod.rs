//! From a selection of units to a plan, and from a plan to the cut model.
//!
//! What the selection takes from each constant is one part of a plan ([`constants`]). The other is the numbers that state
//! sizes: they are rewritten ([`numbers`]) until the shapes that inference finds in the cut graph are the ones that follow
//! from the factors ([`shapes`]). A plan is carried out without the selection ([`apply`]), and told in terms of the model as
//! it was before its bodies were laid out ([`placed`]).

mod apply;
mod constants;
mod names;
mod numbers;
mod placed;
mod plan;
mod shapes;

use std::collections::HashMap;

pub use apply::{add as add_constant, replace as replace_constant};
pub use names::FreshNames;
pub use plan::{AttributeRewrite, AxisCut, GraphStep, InputSlot, NumbersRewrite, Plan, TensorCut};

use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Inferred};
use crate::onnx::tensor::TensorError;

use super::allocate::Selection;
use super::coupling::{Axis, Coupling, Hold, Part};
use numbers::Rewrites;
use shapes::Whole;

/// Why a selection cannot be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurgeryError {
    /// An axis has to stay after all; the coupling is derived again without it.
    #[error("{}: {}", .0.operator, .0.reason)]
    Held(Hold),
    #[error("the constant `{tensor}` cannot be read: {source}")]
    Tensor { tensor: String, source: TensorError },
    #[error("the plan does not fit the model at `{place}`")]
    Misfit { place: String },
}

impl SurgeryError {
    fn misfit(place: &str) -> Self {
        Self::Misfit { place: place.to_owned() }
    }
}

/// Rounds of rewriting and inferring again. One is enough unless a rewritten number feeds the computation of another.
const ROUNDS: usize = 8;

/// A selection over a graph, with what is needed to follow it through.
#[derive(Debug)]
pub struct Tailor<'a> {
    model: &'a Model,
    graph: &'a Graph<'a>,
    inferred: &'a Inferred,
    coupling: &'a Coupling,
    selection: &'a Selection,
    opset: i64,
    values: HashMap<&'a str, usize>,
    uses: HashMap<(NodeIndex, usize), usize>,
}

/// The uses of a constant that go on sharing it, with what they share.
type Kinds<T> = Vec<(T, Vec<InputSlot>)>;

impl<'a> Tailor<'a> {
    /// Looks up the tensors of a coupling by name and use.
    pub fn new(
        model: &'a Model,
        graph: &'a Graph<'a>,
        inferred: &'a Inferred,
        coupling: &'a Coupling,
        selection: &'a Selection,
    ) -> Self {
        let (mut values, mut uses) = (HashMap::new(), HashMap::new());
        for (id, tensor) in coupling.tensors.iter().enumerate() {
            match tensor.constant_use {
                Some(at) => drop(uses.insert(at, id)),
                None => drop(values.insert(tensor.name.as_str(), id)),
            }
        }
        Self { model, graph, inferred, coupling, selection, opset: model.opset("").unwrap_or(1), values, uses }
    }

    /// The plan and the model that it makes.
    ///
    /// Errors: [`SurgeryError::Held`] where a number cannot be made right.
    pub fn cut(&self) -> Result<(Plan, Model), SurgeryError> {
        let mut plan = Plan { tensors: self.tensor_cuts(), ..Plan::default() };
        let base = apply::cut_tensors(self.model, &plan)?;
        let mut rewrites = Rewrites::new();
        let mut wholes: Vec<Whole> = Vec::new();
        for _ in 0..ROUNDS {
            let mut cut = base.clone();
            apply::rewrite(self.model, &plan, &mut cut)?;
            let inferred = crate::onnx::shape::infer(&cut);
            let wanted = shapes::requirements(self, &cut, &inferred);
            if !self.take_in(wanted, &mut rewrites, &mut wholes)? {
                self.verify(&inferred)?;
                return Ok((plan, cut));
            }
            (plan.numbers, plan.attributes) = self.rewrites(&rewrites, &wholes);
        }
        Err(SurgeryError::misfit("a shape that depends on itself"))
    }

    /// Every value has the sizes that follow from the factors.
    fn verify(&self, inferred: &Inferred) -> Result<(), SurgeryError> {
        for node in &self.graph.proto.node {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                let Some(expected) = self.expected(output) else { continue };
                let actual = inferred.dims(output);
                for (axis, size) in expected.iter().enumerate() {
                    let Some(size) = size else { continue };
                    let found = actual.and_then(|dims| dims.get(axis));
                    if found != Some(size) {
                        let found = found.map_or("unknown".to_owned(), ToString::to_string);
                        let reason = format!("axis {axis} of `{output}` would be {found} where {size} is right");
                        return Err(SurgeryError::Held(Hold {
                            value: output.clone(),
                            axis,
                            operator: node.label(),
                            reason,
                        }));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a computed value loses indices.
    pub fn is_cut(&self, value: &str) -> bool {
        self.expected(value).is_some_and(|sizes| sizes.iter().any(Option::is_some))
    }

    /// The size of every axis that loses indices; `None` for the other axes.
    fn expected(&self, value: &str) -> Option<Vec<Option<Dim>>> {
        let axes = self.coupling.tensors[*self.values.get(value)?].axes.as_ref()?;
        Some(axes.iter().map(|axis| self.new_size(axis)).collect())
    }

    /// Whether an axis loses indices.
    pub fn loses(&self, axis: &Axis) -> bool {
        self.new_size(axis).is_some()
    }

    fn new_size(&self, axis: &Axis) -> Option<Dim> {
        let mut changed = false;
        let size = axis.parts.iter().fold(Dim::known(1), |product, part| match part {
            Part::Fixed(size) => product.mul(size),
            Part::Leaf(leaf) => {
                let width = self.selection.widths[*leaf as usize];
                changed |= width as usize != self.coupling.leaves[*leaf as usize].size;
                product.mul(&Dim::known(i64::from(width)))
            }
        });
        changed.then_some(size)
    }

    /// For each index of an axis whether it stays; `None` where its size is open.
    pub fn kept_of(&self, axis: &Axis) -> Option<Vec<bool>> {
        self.selection.kept_of(self.coupling, axis)
    }

    /// The axes of what a node reads at a slot.
    pub fn input_layout(&self, node: NodeIndex, slot: usize) -> Option<&'a [Axis]> {
        self.coupling.tensors[self.input_tensor(node, slot)?].axes.as_deref()
    }

    /// What a node reads at a slot, by its position in [`Coupling::tensors`].
    pub fn input_tensor(&self, node: NodeIndex, slot: usize) -> Option<usize> {
        let name = self.graph.node(node).input_name(slot)?;
        self.uses.get(&(node, slot)).or_else(|| self.values.get(name)).copied()
    }

    /// A node of the graph that is cut.
    pub fn original(&self, node: NodeIndex) -> &'a crate::onnx::proto::NodeProto {
        self.graph.node(node)
    }

    fn kept_axis(&self, layout: &[Axis], axis: usize) -> Option<Vec<bool>> {
        self.kept_of(layout.get(axis)?)
    }

    fn kept_value_axis(&self, value: &str, axis: usize) -> Option<Vec<bool>> {
        self.kept_axis(self.coupling.tensors[*self.values.get(value)?].axes.as_deref()?, axis)
    }

    fn slot(&self, node: NodeIndex, slot: usize) -> InputSlot {
        InputSlot { graph: Vec::new(), node, label: self.graph.node(node).label(), slot }
    }
}

/// The model that a plan makes.
#[cfg(test)]
pub fn apply_plan(model: &Model, plan: &Plan) -> Result<Model, SurgeryError> {
    let mut cut = apply::cut_tensors(model, plan)?;
    apply::rewrite(model, plan, &mut cut)?;
    Ok(cut)
}
