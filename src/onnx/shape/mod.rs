//! Symbolic shape inference: the shape and element type of every value of a graph, and the elements of the small tensors
//! that describe shapes.
//!
//! Starts from the declared inputs and the initializers; intermediate declarations (`value_info`) may be stale and are not
//! read. One rule an operator family ([`rules`]). What cannot be told is told: an [`Unknown`] names node, value and
//! reason. Inference never fails, never panics and ends on any input.

pub mod dim;
pub mod fact;
mod infer;
mod rules;
pub mod value;

use std::collections::{BTreeMap, HashMap};

pub use dim::{Dim, Symbol};
pub use fact::Fact;
pub use infer::declared;
pub use value::{Origin, ShapeValue};

use super::dtype::DataType;
use super::graph::NodeIndex;
use super::model::Model;

/// What is known of the values of a model's main graph.
#[derive(Clone, Debug)]
pub struct Inferred {
    facts: HashMap<String, Fact>,
    unknown: Vec<Unknown>,
}

/// An output whose shape is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub node: NodeIndex,
    /// The node as messages name it.
    pub label: String,
    pub value: String,
    pub reason: String,
}

impl Inferred {
    /// Element type of a value.
    pub fn dtype(&self, value: &str) -> Option<DataType> {
        self.facts.get(value).and_then(|fact| fact.dtype)
    }

    /// Shape of a value; `None` where its rank is unknown, it is not a tensor, or there is no such value.
    pub fn dims(&self, value: &str) -> Option<&[Dim]> {
        self.facts.get(value).and_then(|fact| fact.dims.as_deref())
    }

    /// Number of axes of a value.
    pub fn rank(&self, value: &str) -> Option<usize> {
        self.dims(value).map(<[Dim]>::len)
    }

    /// Shape of a value where no size depends on a symbol.
    pub fn fixed_shape(&self, value: &str) -> Option<Vec<i64>> {
        self.dims(value)?.iter().map(Dim::as_known).collect()
    }

    /// Elements of a value that describes a shape, where all are integers.
    pub fn value(&self, value: &str) -> Option<&ShapeValue> {
        self.facts.get(value).and_then(|fact| fact.value.as_ref()).filter(|value| value.is_integral())
    }

    /// Elements of a short floating-point constant.
    pub fn floats(&self, value: &str) -> Option<&[f32]> {
        self.facts.get(value).and_then(|fact| fact.floats.as_deref())
    }

    /// The values whose shape is unknown, in the order of their nodes.
    pub fn unknown(&self) -> &[Unknown] {
        &self.unknown
    }

    /// The names of all values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.facts.keys().map(String::as_str)
    }
}

/// Infers with the inputs as they are declared; named axes stay symbols.
pub fn infer(model: &Model) -> Inferred {
    infer::infer_model(model, &BTreeMap::new())
}

/// Infers with given shapes of some inputs. A named axis that they fix is fixed in the other inputs too.
pub fn infer_with(model: &Model, inputs: &BTreeMap<String, Vec<i64>>) -> Inferred {
    infer::infer_model(model, inputs)
}
