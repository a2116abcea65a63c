//! Which indices of which axes can only be removed together.
//!
//! Derived from the semantics of operators alone, in three steps: every rule states how the axes of its node relate
//! ([`rules`], [`relations`]); the axes are factored until all relations act on whole factors ([`factor`], [`settle`]);
//! then the indices of all factors are numbered and tied ([`numbering`]) or frozen ([`frozen`]), and what is connected and
//! free is a unit ([`units`]).
//! Knows nothing of scores or budgets.

mod factor;
mod frozen;
mod held;
mod numbering;
mod operand;
mod relations;
mod rules;
mod settle;
mod site;
mod sizes;
mod union;
mod units;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Inferred};
use crate::prune::names::Excluded;
use crate::spec::report::Frozen;
pub use numbering::TooManyIndices;
pub use operand::Operands;
use relations::Relations;

/// Operators that have a rule, by domain and name.
#[cfg(test)]
pub fn ruled_operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    rules::RULES.keys().copied()
}

/// A factor of known size, by number.
pub type LeafId = u32;

/// In [`Coupling::unit_of`]: the index stays.
pub const NO_UNIT: u32 = u32::MAX;

/// Why what the user excludes stays.
pub const EXCLUDED: &str = "it is excluded";

/// Why axes that statistics run over stay where the user wants them kept.
pub const KEPT_NORMALISED: &str = "it is normalised over this axis, and `keep_normalized` is set";

/// A factor of known size; its indices are numbered from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub size: usize,
    pub first: usize,
}

/// One factor of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Leaf(LeafId),
    /// A size that is not known before the graph runs; never cut.
    Fixed(Dim),
}

/// An axis as its factors, outermost first; no factor means size 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub parts: Vec<Part>,
}

/// A computed value or one use of a constant, with its axes.
#[derive(Clone, Debug)]
pub struct Layout {
    pub name: String,
    /// Node and input slot of a constant's use; `None` for computed values.
    pub constant_use: Option<(NodeIndex, usize)>,
    /// `None` where the shape is unknown.
    pub axes: Option<Vec<Axis>>,
}

/// A place where a leaf stands in a constant: the factor at `position` of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Position in [`Coupling::tensors`].
    pub tensor: usize,
    pub axis: usize,
    pub position: usize,
}

/// Indices that go together or stay together.
#[derive(Clone, Debug)]
pub struct Unit {
    pub group: usize,
    /// Leaf and index in it, ascending.
    pub indices: Vec<(LeafId, u32)>,
}

/// The units of the same axes of the same constants.
#[derive(Clone, Debug)]
pub struct Group {
    /// The leaves of its units that constants hold.
    pub leaves: Vec<LeafId>,
    /// Positions in [`Coupling::units`].
    pub units: Range<usize>,
}

/// Indices that stay, of the same axes of the same constants and for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenGroup {
    /// The leaves of its indices that weights hold.
    pub leaves: Vec<LeafId>,
    /// How many of its indices each leaf has, those of computed values included.
    pub counts: BTreeMap<LeafId, u32>,
    /// Pieces that could be chosen among, were they free.
    pub width: usize,
    /// The operator that forbids it; `None` for inputs and outputs of the graph.
    pub operator: Option<String>,
    /// The value whose axis has to stay.
    pub value: Option<String>,
    pub reason: String,
}

/// What can be removed from a graph, and in which pieces.
#[derive(Clone, Debug)]
pub struct Coupling {
    pub tensors: Vec<Layout>,
    pub leaves: Vec<Leaf>,
    /// Attributes that hold the size of an axis.
    pub counts: Vec<(NodeIndex, &'static str, Axis)>,
    /// Inputs that read sizes as data; the numbers stay what they are.
    pub fixed_numbers: Vec<(NodeIndex, usize)>,
    /// The unit of every index, or [`NO_UNIT`].
    pub unit_of: Vec<u32>,
    pub units: Vec<Unit>,
    pub groups: Vec<Group>,
    /// By leaf: where constants hold it.
    pub members: Vec<Vec<Member>>,
    pub frozen: Vec<Frozen>,
    pub frozen_groups: Vec<FrozenGroup>,
}

impl Coupling {
    /// Whether an index of the leaf can be removed.
    pub fn is_cuttable(&self, leaf: LeafId) -> bool {
        let leaf = self.leaves[leaf as usize];
        self.unit_of[leaf.first..leaf.first + leaf.size].iter().any(|unit| *unit != NO_UNIT)
    }

    /// The name that a group goes by: that of the first constant that holds it.
    pub fn name_of(&self, group: usize) -> &str {
        let mut members = self.groups[group].leaves.iter().flat_map(|leaf| &self.members[*leaf as usize]);
        members.next().map_or("", |member| &self.tensors[member.tensor].name)
    }
}

/// An axis of a value that has to stay, found out only when a cut was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub value: String,
    pub axis: usize,
    pub operator: String,
    pub reason: String,
}

/// What the user or an earlier attempt wants left alone.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Nodes (their outputs stay) and initializers (all their axes stay).
    pub exclude: Excluded,
    pub holds: Vec<Hold>,
    /// Whether axes that a mean, a norm or a softmax runs over stay.
    pub keep_normalised: bool,
}

/// Derives the coupling of a model's main graph.
///
/// Errors: the axes have too many indices. Cost: linear in the graph and in the sum of the sizes of the axes of weights and
/// of what computed axes may lose; weights are not read.
pub fn couple(
    model: &Model,
    graph: &Graph<'_>,
    inferred: &Inferred,
    wishes: &Wishes,
) -> Result<Coupling, TooManyIndices> {
    let mut relations = Relations::new(model, graph, inferred);
    relations.keep_normalised = wishes.keep_normalised;
    freeze_borders(&mut relations);
    freeze_wishes(&mut relations, wishes);
    for index in 0..graph.proto.node.len() {
        rules::apply(&mut site::Site::new(&mut relations, index));
    }
    sizes::pin_sizes_used_as_data(&mut relations);
    let picks = settle::settle(&mut relations);
    units::units(&relations, &picks)
}

/// Inputs and outputs of the graph keep their shapes; integer tensors hold positions and sizes, not channels.
fn freeze_borders(relations: &mut Relations<'_>) {
    let graph = relations.graph;
    for info in graph.fed_inputs() {
        if let Some(tensor) = relations.value(info.name()) {
            relations.freeze_tensor(tensor, None, &format!("it reaches the graph input `{}`", info.name()));
        }
    }
    for info in &graph.proto.output {
        let reason = format!("it reaches the graph output `{}`", info.name());
        if let Some(tensor) = relations.value(info.name()) {
            relations.freeze_tensor(tensor, None, &reason);
        }
    }
    for tensor in 0..relations.tensors.len() {
        let name = relations.tensors[tensor].name.clone();
        let dtype = relations.inferred.dtype(&name);
        if matches!(dtype, Some(DataType::Int64 | DataType::Int32)) && !is_quantized(relations, tensor) {
            relations.freeze_tensor(tensor, None, &format!("`{name}` holds integers"));
        } else if dtype.is_none_or(|dtype| dtype.bits() % 8 != 0 || dtype == DataType::String) {
            relations.freeze_tensor(tensor, None, &format!("the elements of `{name}` cannot be taken one by one"));
        } else if graph.initializer(&name).is_some_and(|t| t.data_location() != 0 || !t.external_data.is_empty()) {
            relations.freeze_tensor(tensor, None, &format!("the elements of `{name}` lie in an external file"));
        }
    }
}

fn freeze_wishes(relations: &mut Relations<'_>, wishes: &Wishes) {
    let graph = relations.graph;
    for node in &graph.proto.node {
        if wishes.exclude.has_node(node) {
            for tensor in node.output.iter().filter_map(|name| relations.value(name)).collect::<Vec<_>>() {
                relations.freeze_tensor(tensor, Some(&node.label()), EXCLUDED);
            }
        }
    }
    for tensor in 0..relations.tensors.len() {
        if relations.tensors[tensor].constant_use.is_some()
            && wishes.exclude.has_initializer(&relations.tensors[tensor].name)
        {
            relations.freeze_tensor(tensor, None, EXCLUDED);
        }
    }
    for hold in &wishes.holds {
        for tensor in 0..relations.tensors.len() {
            if relations.tensors[tensor].name == hold.value
                && let Some(axis) =
                    relations.tensors[tensor].axes.as_ref().and_then(|axes| axes.get(hold.axis)).copied()
            {
                relations.freeze(axis, Some(&hold.operator), &hold.reason);
            }
        }
    }
}

/// Whether a tensor of 32-bit integers holds sums of products of quantized numbers, or is added to such.
fn is_quantized(relations: &Relations<'_>, tensor: usize) -> bool {
    let graph = relations.graph;
    let tensor = &relations.tensors[tensor];
    match tensor.constant_use {
        Some((node, slot)) => match graph.node(node).op_type() {
            "DequantizeLinear" => matches!(slot, 0 | 2),
            "QLinearConv" => slot == 8,
            "QGemm" => slot == 6,
            _ => false,
        },
        None => graph
            .producer(&tensor.name)
            .is_some_and(|(node, _)| graph.node(node).is("ConvInteger") || graph.node(node).is("MatMulInteger")),
    }
}
