//! What a coupling rule sees and may say: one node, its tensors' axes, and the relations between them.

use std::cell::Cell;

use super::factor::FactorId;
pub use super::relations::Sources;
use super::relations::{CountedBy, Pick, Relations};
use crate::onnx::graph::NodeIndex;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::Dim;

/// Why a rule does not apply; everything that the node touches is frozen with this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl<T: Into<String>> From<T> for Refusal {
    fn from(reason: T) -> Self {
        Self(reason.into())
    }
}

/// What a rule returns.
pub type Ruling = Result<(), Refusal>;

/// A node under its rule.
#[derive(Debug)]
pub struct Site<'r, 'g> {
    relations: &'r mut Relations<'g>,
    index: NodeIndex,
    label: String,
    /// By input slot, whether the rule asked for its axes.
    asked: Vec<Cell<bool>>,
}

impl<'r, 'g> Site<'r, 'g> {
    /// The node at an index.
    pub fn new(relations: &'r mut Relations<'g>, index: NodeIndex) -> Self {
        let node = relations.graph.node(index);
        let (label, asked) = (node.label(), vec![Cell::new(false); node.input.len()]);
        Self { relations, index, label, asked }
    }

    /// The node.
    pub fn node(&self) -> &'g NodeProto {
        self.relations.graph.node(self.index)
    }

    /// Version of the operator set of the node's domain.
    pub fn opset(&self) -> i64 {
        self.relations.model.opset(self.node().domain()).unwrap_or(1)
    }

    /// Whether an input is given.
    pub fn has_input(&self, slot: usize) -> bool {
        self.node().input_name(slot).is_some()
    }

    /// The axes of an input.
    ///
    /// Errors: it is left out, or its shape is unknown.
    pub fn input(&self, slot: usize) -> Result<Vec<FactorId>, Refusal> {
        let name = self.node().input_name(slot).ok_or_else(|| format!("input {slot} is missing"))?;
        self.asked[slot].set(true);
        let tensor =
            self.relations.input(self.index, slot).ok_or_else(|| format!("`{name}` comes from an outer scope"))?;
        self.axes(tensor)
    }

    /// The axes of an output.
    ///
    /// Errors: it is left out, or its shape is unknown.
    pub fn output(&self, slot: usize) -> Result<Vec<FactorId>, Refusal> {
        let name = self.node().output.get(slot).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("output {slot} is missing"))?;
        self.axes(self.relations.value(name).ok_or_else(|| format!("`{name}` is unknown"))?)
    }

    /// The outputs after the first `wanted` that somebody asked for.
    pub fn further_outputs(&self, wanted: usize) -> bool {
        self.node().output.iter().skip(wanted).any(|name| !name.is_empty())
    }

    fn axes(&self, tensor: usize) -> Result<Vec<FactorId>, Refusal> {
        let tensor = &self.relations.tensors[tensor];
        tensor.axes.clone().ok_or_else(|| format!("the shape of `{}` is unknown", tensor.name).into())
    }

    /// The size of an axis.
    pub fn size(&self, axis: FactorId) -> &Dim {
        self.relations.factors.size(axis)
    }

    /// The size of an axis where it is a number.
    pub fn known_size(&self, axis: FactorId) -> Option<usize> {
        usize::try_from(self.size(axis).as_known()?).ok()
    }

    /// The integers that an input holds.
    ///
    /// Errors: they are not known before the graph runs.
    pub fn numbers(&self, slot: usize) -> Result<Vec<i64>, Refusal> {
        let name = self.node().input_name(slot).ok_or_else(|| format!("input {slot} is missing"))?;
        let known = self.relations.inferred.value(name).and_then(crate::onnx::shape::ShapeValue::known);
        known.ok_or_else(|| format!("the elements of `{name}` are not known before the graph runs").into())
    }

    /// Numbers that older operator sets keep in an attribute and newer ones in an input; `None` where both are absent.
    pub fn numbers_from(&self, attribute: &str, slot: usize) -> Result<Option<Vec<i64>>, Refusal> {
        match self.node().ints(attribute) {
            Some(numbers) => Ok(Some(numbers.to_vec())),
            None if self.has_input(slot) => self.numbers(slot).map(Some),
            None => Ok(None),
        }
    }

    /// The axis that a possibly negative number means.
    pub fn axis(axis: i64, rank: usize) -> Result<usize, Refusal> {
        let index = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(index)
            .ok()
            .filter(|index| *index < rank)
            .ok_or_else(|| format!("axis {axis} is outside of {rank} axes").into())
    }

    /// Two axes are the same, index by index.
    pub fn same(&mut self, a: FactorId, b: FactorId) {
        self.regroup(&[a], &[b]);
    }

    /// Two sequences of axes hold the same factors in the same order.
    pub fn regroup(&mut self, left: &[FactorId], right: &[FactorId]) {
        self.relations.align(left, right, &self.label);
    }

    /// Axes are the same one by one.
    pub fn all_same(&mut self, left: &[FactorId], right: &[FactorId]) {
        for (a, b) in left.iter().zip(right) {
            self.same(*a, *b);
        }
    }

    /// The axis of an operand that is broadcast against an axis of the result: a size of 1 ties nothing.
    pub fn broadcast(&mut self, operand: FactorId, result: FactorId) {
        if self.size(operand) == self.size(result) {
            self.same(operand, result);
        } else if !self.size(operand).is(1) {
            let reason =
                format!("whether size {} is broadcast to {} is not known", self.size(operand), self.size(result));
            self.freeze(operand, &reason);
            self.freeze(result, &reason);
        }
    }

    /// Axes of an operand that are broadcast, aligned at the end, against those of the result.
    pub fn broadcast_all(&mut self, operand: &[FactorId], result: &[FactorId]) {
        for (a, b) in operand.iter().rev().zip(result.iter().rev()) {
            self.broadcast(*a, *b);
        }
    }

    /// Elements of one axis are elements of another: `to[at + i] = from[source(i)]`.
    pub fn pick(&mut self, from: FactorId, to: FactorId, sources: Sources, at: usize) {
        let operator = self.label.clone();
        self.relations.picks.push(Pick { from, to, sources, at, operator });
    }

    /// An axis may not be cut.
    pub fn freeze(&mut self, axis: FactorId, reason: &str) {
        self.relations.freeze(axis, Some(&self.label), reason);
    }

    /// Axes may not be cut.
    pub fn freeze_all(&mut self, axes: &[FactorId], reason: &str) {
        for axis in axes {
            self.freeze(*axis, reason);
        }
    }

    /// Statistics, a norm or a softmax run over axes. Removing indices then is another function than setting them to zero,
    /// which the certificate knows; where the user wants such axes kept, they stay.
    pub fn normalised(&mut self, axes: &[FactorId]) {
        if self.relations.keep_normalised {
            self.freeze_all(axes, super::KEPT_NORMALISED);
        }
    }

    /// An axis that no tensor has: a part of one that does.
    pub fn part(&mut self, size: Dim) -> FactorId {
        self.relations.part(size)
    }

    /// The size of an axis stands in an attribute, which is rewritten with it.
    pub fn counted_by(&mut self, attribute: &'static str, factor: FactorId) {
        self.relations.counts.push(CountedBy { node: self.index, attribute, factor });
    }

    /// Freezes the inputs whose axes the rule did not ask for: they say how something is done and are not cut.
    pub fn freeze_the_rest(&mut self) {
        for slot in 0..self.asked.len() {
            if !self.asked[slot].get()
                && let Some(tensor) = self.relations.input(self.index, slot)
            {
                self.relations.freeze_tensor(tensor, Some(&self.label), "it is a parameter of the operator");
            }
        }
    }

    /// Freezes every axis that the node touches, those that its subgraphs take from outside included.
    pub fn refuse(&mut self, reason: &str) {
        let node = self.node();
        let inputs = (0..node.input.len()).filter_map(|slot| self.relations.input(self.index, slot));
        let outputs = node.output.iter().filter_map(|name| self.relations.value(name));
        let outer =
            node.subgraphs().flat_map(crate::onnx::graph::outer_names).filter_map(|name| self.relations.value(name));
        let touched: Vec<usize> = inputs.chain(outputs).chain(outer).collect();
        for tensor in touched {
            self.relations.freeze_tensor(tensor, Some(&self.label), reason);
        }
    }
}
