//! A cut as a value: what is removed from which constant, and which numbers in the graph change with it.
//!
//! A plan names everything it touches and can be applied to the model that it was made for without knowing why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::onnx::graph::NodeIndex;

/// A structured cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Constants that lose indices, in the order of their first use.
    pub tensors: Vec<TensorCut>,
    /// Shape constants with new elements: targets of reshapes, bounds of slices, pads, sizes of splits.
    pub numbers: Vec<NumbersRewrite>,
    /// Attributes with new integers.
    pub attributes: Vec<AttributeRewrite>,
}

/// A step on the way from the main graph to one inside of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct GraphStep {
    /// Position of the node in the graph that the way has led to.
    #[schema(value_type = u64)]
    pub node: NodeIndex,
    /// Operator and name, for people.
    pub label: String,
    /// The attribute with the graph: `then_branch`, `else_branch` or `body`.
    pub attribute: String,
}

/// A constant that loses indices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TensorCut {
    /// The way to the graph that has it in the original; empty is the main graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graph: Vec<GraphStep>,
    /// Name in the original, in its graph.
    pub tensor: String,
    /// Name in the cut model: the same, or a new one where other uses of the constant need another cut, or where a branch
    /// that is always taken has taken the place of its node, whose names may be taken there.
    pub becomes: String,
    /// Whether the cut model has it in its main graph though `graph` names another: as a copy for some uses, or because the
    /// branch is always taken; the other one is gone then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moves_out: bool,
    /// The inputs that read it under the new name; empty where the name stays.
    #[serde(default)]
    pub uses: Vec<InputSlot>,
    pub axes: Vec<AxisCut>,
}

/// An input of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct InputSlot {
    /// The way to the graph that has the node; empty is the main graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graph: Vec<GraphStep>,
    /// Position of the node in its graph. One more than the last is the list of the graph's outputs, of which the label
    /// tells which it is.
    #[schema(value_type = u64)]
    pub node: NodeIndex,
    /// Operator and name, for people.
    pub label: String,
    pub slot: usize,
}

/// The indices that an axis loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AxisCut {
    pub axis: usize,
    /// Size before.
    pub size: usize,
    /// Ascending.
    pub removed: Vec<u32>,
}

/// New elements of a shape constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NumbersRewrite {
    /// The inputs that read the new elements.
    pub uses: Vec<InputSlot>,
    /// The way to the graph that has the constant in the original; empty is the main graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graph: Vec<GraphStep>,
    /// Name of the constant in the original, in its graph; `None` where the input was left out.
    pub was: Option<String>,
    /// Name in the cut model.
    pub becomes: String,
    pub elements: Vec<i64>,
    /// Shape of a constant that is new; one that was there keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
}

/// New integers of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttributeRewrite {
    /// The way to the graph that has the node; empty is the main graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graph: Vec<GraphStep>,
    /// Position of the node in its graph.
    #[schema(value_type = u64)]
    pub node: NodeIndex,
    pub label: String,
    pub attribute: String,
    /// `None` removes the attribute; one integer or a list as it was before.
    pub integers: Option<Vec<i64>>,
}

impl TensorCut {
    /// Whether the cut model has it in its main graph.
    pub fn is_outside(&self) -> bool {
        self.graph.is_empty() || self.moves_out
    }
}

impl AxisCut {
    /// The indices that stay, ascending.
    pub fn kept(&self) -> Vec<u32> {
        let mut removed = self.removed.iter().copied().peekable();
        (0..self.size as u32).filter(|index| removed.next_if_eq(index).is_none()).collect()
    }
}
