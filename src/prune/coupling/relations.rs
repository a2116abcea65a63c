//! The relations between axes that operators state, collected over a whole graph.
//!
//! Every computed value has its axes once; a constant has axes of its own at each of its uses, so that sharing never
//! couples: whether the uses of one constant can go on sharing it is seen when the cuts are known. Relations are taken
//! here and settled in [`super::settle`]. Knows nothing of particular operators.

use std::collections::HashMap;

use super::factor::{FactorId, Factors};
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Inferred};

/// A tensor with axes of its own: a computed value, or one use of a constant.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name of the value.
    pub name: String,
    /// Where a constant is used; `None` for computed values.
    pub constant_use: Option<(NodeIndex, usize)>,
    /// `None` where the shape is unknown.
    pub axes: Option<Vec<FactorId>>,
}

/// Elements of one axis that are elements of another: `to[at + i] = from[source(i)]`.
#[derive(Clone, Debug)]
pub struct Pick {
    pub from: FactorId,
    pub to: FactorId,
    pub sources: Sources,
    pub at: usize,
    pub operator: String,
}

/// The indices that a pick takes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// `start + i · step`; the step is 1, or -1 for a reversal.
    Run {
        start: usize,
        step: isize,
        count: usize,
    },
    List(Vec<usize>),
}

impl Sources {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Run { count, .. } => *count,
            Self::List(list) => list.len(),
        }
    }

    /// The index at a position below [`Sources::count`].
    pub fn get(&self, i: usize) -> usize {
        match self {
            Self::Run { start, step, .. } => (*start as isize + i as isize * step) as usize,
            Self::List(list) => list[i],
        }
    }

    /// The same pick between the outer factors of two axes that have `inside` elements in each of their indices. `None`
    /// where whole indices are not taken.
    pub fn outside(&self, inside: usize) -> Option<Self> {
        match self {
            _ if inside == 1 => Some(self.clone()),
            Self::Run { start, step: 1, count } if start % inside == 0 && count % inside == 0 => {
                Some(Self::Run { start: start / inside, step: 1, count: count / inside })
            }
            Self::Run { .. } => None,
            Self::List(list) => {
                let whole = |block: &[usize]| {
                    let begins = block.len() == inside && block[0].is_multiple_of(inside);
                    (begins && block.windows(2).all(|pair| pair[0] + 1 == pair[1])).then(|| block[0] / inside)
                };
                list.chunks(inside).map(whole).collect::<Option<_>>().map(Self::List)
            }
        }
    }
}

/// Something that may not be cut.
#[derive(Clone, Debug)]
pub struct Freeze {
    pub factor: FactorId,
    /// The operator that forbids it; `None` for inputs and outputs of the graph.
    pub operator: Option<String>,
    pub reason: String,
}

/// Where the size of a factor stands in an attribute.
#[derive(Clone, Debug)]
pub struct CountedBy {
    pub node: NodeIndex,
    pub attribute: &'static str,
    pub factor: FactorId,
}

/// What the operators of a graph say about its axes.
#[derive(Debug)]
pub struct Relations<'g> {
    pub graph: &'g Graph<'g>,
    pub inferred: &'g Inferred,
    /// Versions of the operator sets come from here.
    pub model: &'g Model,
    pub factors: Factors,
    pub tensors: Vec<Tensor>,
    values: HashMap<&'g str, usize>,
    constant_uses: HashMap<(NodeIndex, usize), usize>,
    pub picks: Vec<Pick>,
    pub freezes: Vec<Freeze>,
    pub counts: Vec<CountedBy>,
    /// Inputs that read sizes as data, known ones, which stay what they are.
    pub fixed_numbers: Vec<(NodeIndex, usize)>,
    /// Whether axes that statistics run over stay.
    pub keep_normalised: bool,
}

impl<'g> Relations<'g> {
    /// The tensors of a graph, nothing related yet.
    pub fn new(model: &'g Model, graph: &'g Graph<'g>, inferred: &'g Inferred) -> Self {
        let mut relations = Self {
            graph,
            inferred,
            model,
            factors: Factors::default(),
            tensors: Vec::new(),
            values: HashMap::new(),
            constant_uses: HashMap::new(),
            picks: Vec::new(),
            freezes: Vec::new(),
            counts: Vec::new(),
            fixed_numbers: Vec::new(),
            keep_normalised: false,
        };
        for info in graph.fed_inputs() {
            let id = relations.add(info.name(), None);
            relations.values.insert(info.name(), id);
        }
        for (index, node) in graph.proto.node.iter().enumerate() {
            for (slot, name) in node.input.iter().enumerate() {
                if relations.is_constant(name) {
                    let id = relations.add(name, Some((index, slot)));
                    relations.constant_uses.insert((index, slot), id);
                }
            }
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let id = relations.add(name, None);
                relations.values.insert(name, id);
            }
        }
        relations
    }

    /// Whether a value is an initializer or the output of a `Constant` node.
    pub fn is_constant(&self, name: &str) -> bool {
        self.graph.initializer(name).is_some()
            || self.graph.producer(name).is_some_and(|(node, _)| self.graph.node(node).is("Constant"))
    }

    fn add(&mut self, name: &str, constant_use: Option<(NodeIndex, usize)>) -> usize {
        let axes = self.inferred.dims(name).map(|dims| dims.iter().map(|dim| self.factors.add(dim.clone())).collect());
        self.tensors.push(Tensor { name: name.to_owned(), constant_use, axes });
        self.tensors.len() - 1
    }

    /// The tensor that a node reads at a slot.
    pub fn input(&self, node: NodeIndex, slot: usize) -> Option<usize> {
        let name = self.graph.node(node).input_name(slot)?;
        self.constant_uses.get(&(node, slot)).or_else(|| self.values.get(name)).copied()
    }

    /// The tensor of a computed value or graph input.
    pub fn value(&self, name: &str) -> Option<usize> {
        self.values.get(name).copied()
    }

    /// Forbids cutting an axis.
    pub fn freeze(&mut self, factor: FactorId, operator: Option<&str>, reason: &str) {
        self.freezes.push(Freeze { factor, operator: operator.map(str::to_owned), reason: reason.to_owned() });
    }

    /// Forbids cutting any axis of a tensor.
    pub fn freeze_tensor(&mut self, tensor: usize, operator: Option<&str>, reason: &str) {
        for axis in self.tensors[tensor].axes.clone().unwrap_or_default() {
            self.freeze(axis, operator, reason);
        }
    }

    /// Makes two sequences of axes the same; what does not fit is frozen.
    pub fn align(&mut self, left: &[FactorId], right: &[FactorId], operator: &str) {
        for misfit in self.factors.align(left, right) {
            let sizes = |side: &[FactorId]| {
                side.iter().map(|factor| self.factors.size(*factor).to_string()).collect::<Vec<_>>().join(" · ")
            };
            let reason =
                format!("the factors {} and {} do not refine each other", sizes(&misfit.left), sizes(&misfit.right));
            for factor in misfit.left.into_iter().chain(misfit.right) {
                self.freeze(factor, Some(operator), &reason);
            }
        }
    }

    /// An axis that no tensor has: a part of one that does.
    pub fn part(&mut self, size: Dim) -> FactorId {
        self.factors.add(size)
    }
}
