//! Gradient rules, one family of operators a file, and the list of all of them.
//!
//! A rule is given the upstream gradients of a node's outputs and writes the gradient of each input that is wanted. It may
//! return a gradient in the broadcast shape of the output: [`super::backward`] sums it back to the input's shape, and adds
//! up the gradients of a value with several users. A rule knows nothing of the nodes around its own.
//!
//! To add an operator: write its rule in its family's file, list it in the family's `RULES`, and give it a case in
//! `tests/gradients`, which fails until every listed operator has one.

mod activation;
mod arithmetic;
mod assemble;
mod conv;
mod conv_input;
mod conv_weight;
mod dense;
mod layout;
mod normalize;
mod pool;
mod reduce;
mod softmax;
mod window;

use std::collections::HashMap;

use super::emit::{Emitter, Value};
use crate::onnx::proto::NodeProto;
use crate::onnx::tensor::Tensor;

/// Why a node passes no gradient on: a sentence's end, as in "its operator …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoGradient(pub String);

/// One gradient for each input; `None` where none was wanted or the input does not change the output.
pub type Gradients = Result<Vec<Option<Value>>, NoGradient>;

/// A gradient rule.
pub type Rule = fn(&mut Step<'_>) -> Gradients;

/// Rules of one family, by operator of the default domain.
type Family = &'static [(&'static str, Rule)];

/// Every family.
const FAMILIES: [Family; 10] = [
    activation::RULES,
    arithmetic::RULES,
    assemble::RULES,
    conv::RULES,
    dense::RULES,
    layout::RULES,
    normalize::RULES,
    pool::RULES,
    reduce::RULES,
    softmax::RULES,
];

/// The rule of an operator of the default domain.
pub fn find(op_type: &str) -> Option<Rule> {
    FAMILIES.into_iter().flatten().find(|(name, _)| *name == op_type).map(|(_, rule)| *rule)
}

/// Every operator that has a rule.
pub fn operators() -> impl Iterator<Item = &'static str> {
    FAMILIES.into_iter().flatten().map(|(name, _)| *name)
}

/// A node on the way back, with all that its rule may look at.
#[derive(Debug)]
pub struct Step<'a> {
    pub node: &'a NodeProto,
    /// `None` for inputs left out.
    pub inputs: Vec<Option<Value>>,
    pub outputs: Vec<Option<Value>>,
    /// Upstream gradient of each output, in the output's shape; `None` where the output does not matter to the loss. At
    /// least one is there.
    pub upstream: Vec<Option<Value>>,
    /// Whether the gradient of an input is of use to anyone.
    pub wanted: Vec<bool>,
    pub constants: &'a HashMap<String, Tensor>,
    pub emit: &'a mut Emitter,
}

impl Step<'_> {
    /// An input that the operator must have.
    pub fn x(&self, slot: usize) -> Result<Value, NoGradient> {
        self.inputs.get(slot).cloned().flatten().ok_or_else(|| NoGradient(format!("lacks its input {slot}")))
    }

    /// An output that the operator must have.
    pub fn y(&self, slot: usize) -> Result<Value, NoGradient> {
        self.outputs.get(slot).cloned().flatten().ok_or_else(|| NoGradient(format!("lacks its output {slot}")))
    }

    /// The upstream gradient of the first output.
    pub fn dy(&self) -> Result<Value, NoGradient> {
        self.upstream
            .first()
            .cloned()
            .flatten()
            .ok_or_else(|| NoGradient("is used by an output other than the first".into()))
    }

    /// Whether the gradient of an input is wanted.
    pub fn wants(&self, slot: usize) -> bool {
        self.wanted.get(slot).copied().unwrap_or(false)
    }

    /// The elements of a constant input; `None` where it is left out or computed.
    pub fn constant(&self, slot: usize) -> Option<&Tensor> {
        self.constants.get(self.node.input_name(slot)?)
    }

    /// Integers of a constant input; `None` where it is left out.
    pub fn integers(&self, slot: usize) -> Result<Option<Vec<i64>>, NoGradient> {
        if self.node.input_name(slot).is_none() {
            return Ok(None);
        }
        let tensor = self
            .constant(slot)
            .ok_or_else(|| NoGradient(format!("takes its input {slot} from a computation on data")))?;
        tensor.to_i64().map(Some).map_err(|error| NoGradient(format!("cannot be read: input {slot}: {error}")))
    }

    /// A scalar constant input as a number.
    pub fn number(&self, slot: usize) -> Option<f64> {
        let tensor = self.constant(slot).filter(|tensor| tensor.len() == 1)?;
        tensor.to_f32().ok()?.first().map(|value| f64::from(*value))
    }

    /// An axis attribute, counted from the front.
    pub fn axis(&self, default: i64, rank: usize) -> Result<usize, NoGradient> {
        at(self.node.int("axis").unwrap_or(default), rank)
    }

    /// Axes from the attribute of older operator sets or the input of newer ones; `None` where neither is there.
    pub fn axes(&self, slot: usize, rank: usize) -> Result<Option<Vec<usize>>, NoGradient> {
        let axes = match self.node.ints("axes") {
            Some(axes) => Some(axes.to_vec()),
            None => self.integers(slot)?,
        };
        axes.map(|axes| axes.into_iter().map(|axis| at(axis, rank)).collect()).transpose()
    }

    /// The gradient of the first and only differentiable input.
    pub fn only(dx: Value) -> Gradients {
        Ok(vec![Some(dx)])
    }
}

/// An axis counted from the front.
fn at(axis: i64, rank: usize) -> Result<usize, NoGradient> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| NoGradient(format!("names the axis {axis} of a value with {rank} axes")))
}
