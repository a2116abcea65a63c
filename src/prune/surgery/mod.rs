//! From a selection of units to a plan, and from a plan to the cut model.
//!
//! Uses of one constant that are cut alike go on sharing it; uses that are cut otherwise get a copy. Numbers are rewritten
//! until the shapes that inference finds in the cut graph are the ones that follow from the factors ([`shapes`]).

mod apply;
mod plan;
mod shapes;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use plan::{AttributeRewrite, AxisCut, InputSlot, NumbersRewrite, Plan, TensorCut};

use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Inferred};
use crate::onnx::tensor::TensorError;

use super::allocate::Selection;
use super::coupling::{Axis, Coupling, Hold, Part};
use shapes::{Requirement, Requirements, Whole};

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

/// A use of a constant, by node and slot, and an element of it.
type ConstantElement = ((NodeIndex, usize), usize);

/// The uses of a constant that go on sharing it, with what they share.
type Kinds<T> = Vec<(T, Vec<InputSlot>)>;

/// Rewritten numbers on their way to a plan: by use of a constant its elements.
type Rewrites = BTreeMap<(NodeIndex, usize), Vec<i64>>;

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

    /// Adds what is required; whether that is anything new.
    fn take_in(
        &self,
        wanted: Requirements,
        rewrites: &mut Rewrites,
        wholes: &mut Vec<Whole>,
    ) -> Result<bool, SurgeryError> {
        if let Some(hold) = wanted.holds.into_iter().next() {
            return Err(SurgeryError::Held(hold));
        }
        let mut new = false;
        let mut required: HashMap<(NodeIndex, usize, usize), i64> = HashMap::new();
        for requirement in wanted.elements {
            for ((node, slot), element) in self.sources(&requirement)? {
                let earlier = required.insert((node, slot, element), requirement.number);
                let elements = match rewrites.entry((node, slot)) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        entry.insert(self.constant_numbers(node, slot)?)
                    }
                };
                let number = elements.get_mut(element).ok_or_else(|| SurgeryError::misfit(&requirement.hold.0))?;
                if earlier.is_some_and(|earlier| earlier != requirement.number) {
                    return Err(self.held(&requirement, "one constant would have to be two sizes"));
                }
                new |= std::mem::replace(number, requirement.number) != requirement.number;
            }
        }
        for whole in wanted.wholes {
            if !wholes.contains(&whole) {
                wholes.push(whole);
                new = true;
            }
        }
        Ok(new)
    }

    fn held(&self, requirement: &Requirement, reason: &str) -> SurgeryError {
        let (value, axis) = requirement.hold.clone();
        let operator = self.graph.node(requirement.node).label();
        SurgeryError::Held(Hold { value, axis, operator, reason: reason.to_owned() })
    }

    fn constant_numbers(&self, node: NodeIndex, slot: usize) -> Result<Vec<i64>, SurgeryError> {
        let name = self.graph.node(node).input_name(slot).unwrap_or_default();
        let tensor = self.graph.constant(name).ok_or_else(|| SurgeryError::misfit(name))?;
        tensor
            .and_then(|tensor| tensor.to_i64())
            .map_err(|source| SurgeryError::Tensor { tensor: name.to_owned(), source })
    }

    /// The uses of a constant, and the element of it, that a required number is a copy of.
    fn sources(&self, requirement: &Requirement) -> Result<Vec<ConstantElement>, SurgeryError> {
        let node = self.graph.node(requirement.node);
        let computed = || self.held(requirement, "the size is computed and would come out wrong");
        let name = node.input_name(requirement.slot).ok_or_else(computed)?;
        let value = self.inferred.value(name).ok_or_else(computed)?;
        let origin = value.origins.get(requirement.element).and_then(Option::as_ref).ok_or_else(computed)?;
        let mut found = Vec::new();
        let mut visited = HashSet::new();
        let mut pending = vec![(requirement.node, requirement.slot)];
        while let Some((node, slot)) = pending.pop() {
            let Some(name) = self.graph.node(node).input_name(slot) else { continue };
            if *name == *origin.tensor {
                found.push(((node, slot), origin.index));
            } else if let Some((producer, _)) = self.graph.producer(name)
                && visited.insert(producer)
            {
                pending.extend((0..self.graph.node(producer).input.len()).map(|slot| (producer, slot)));
            }
        }
        if found.is_empty() { Err(computed()) } else { Ok(found) }
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

    /// What each constant loses, use by use: alike uses share, the first kind keeps the name unless a use loses nothing.
    fn tensor_cuts(&self) -> Vec<TensorCut> {
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
                found.push(TensorCut { tensor: name.to_owned(), becomes, uses, axes });
            }
        }
        found
    }

    /// Whether a constant is read by a subgraph or is an output.
    fn is_read_elsewhere(&self, name: &str) -> bool {
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

    fn slot(&self, node: NodeIndex, slot: usize) -> InputSlot {
        InputSlot { node, label: self.graph.node(node).label(), slot }
    }

    /// Rewritten constants and attributes as the plan states them.
    fn rewrites(&self, rewrites: &Rewrites, wholes: &[Whole]) -> (Vec<NumbersRewrite>, Vec<AttributeRewrite>) {
        let mut fresh = FreshNames::new(self.graph);
        let mut by_name: BTreeMap<&str, Kinds<&Vec<i64>>> = BTreeMap::new();
        for ((node, slot), elements) in rewrites {
            let kinds = by_name.entry(self.graph.node(*node).input_name(*slot).unwrap_or_default()).or_default();
            match kinds.iter_mut().find(|(other, _)| *other == elements) {
                Some((_, slots)) => slots.push(self.slot(*node, *slot)),
                None => kinds.push((elements, vec![self.slot(*node, *slot)])),
            }
        }
        let mut numbers = Vec::new();
        for (name, kinds) in by_name {
            let rewritten: usize = kinds.iter().map(|(_, slots)| slots.len()).sum();
            let mut taken = self.is_read_elsewhere(name) || rewritten < self.graph.uses(name).len();
            for (elements, uses) in kinds {
                let becomes = if std::mem::replace(&mut taken, true) { fresh.after(name) } else { name.to_owned() };
                numbers.push(NumbersRewrite { uses, was: Some(name.to_owned()), becomes, elements: elements.clone() });
            }
        }
        let mut attributes = Vec::new();
        for whole in wholes {
            match whole {
                Whole::Attribute { node, attribute, integers } => attributes.push(AttributeRewrite {
                    node: *node,
                    label: self.graph.node(*node).label(),
                    attribute: (*attribute).to_owned(),
                    integers: integers.clone(),
                }),
                Whole::Input { node, slot, elements } => {
                    let stem = self.graph.node(*node).output.first().map_or("numbers", String::as_str);
                    let becomes = fresh.after(stem);
                    numbers.push(NumbersRewrite {
                        uses: vec![self.slot(*node, *slot)],
                        was: None,
                        becomes,
                        elements: elements.clone(),
                    });
                }
            }
        }
        (numbers, attributes)
    }
}

/// Names that no value of the graph has. The same calls give the same names.
struct FreshNames {
    taken: HashSet<String>,
}

impl FreshNames {
    fn new(graph: &Graph<'_>) -> Self {
        let initializers = graph.proto.initializer.iter().map(|tensor| tensor.name().to_owned());
        let inputs = graph.proto.input.iter().map(|info| info.name().to_owned());
        let values = graph.proto.node.iter().flat_map(|node| node.output.iter().cloned());
        Self { taken: initializers.chain(inputs).chain(values).collect() }
    }

    fn after(&mut self, stem: &str) -> String {
        let mut count = 1;
        loop {
            let name = format!("{stem}_cut{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
            count += 1;
        }
    }
}

/// The model that a plan makes.
#[cfg(test)]
pub fn apply_plan(model: &Model, plan: &Plan) -> Result<Model, SurgeryError> {
    let mut cut = apply::cut_tensors(model, plan)?;
    apply::rewrite(model, plan, &mut cut)?;
    Ok(cut)
}
