//! What an analysis says of a model: its groups of coupled channels, its layers, and what lies idle in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::report::Size;
use super::summary::Axis;

/// What an analyze step found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyzeReport {
    pub size: Size,
    pub coverage: Coverage,
    /// Prunable groups first, each kind by the parameters that it carries.
    pub groups: Vec<AnalyzedGroup>,
    /// Every node of the main graph but constants, in the graph's order.
    pub layers: Vec<LayerReport>,
    /// Prunable groups whose weights are small beside those of the others, the smallest first.
    pub low_contribution: Vec<LowContribution>,
    /// Channels that carry nothing.
    pub dead_channels: Vec<DeadChannels>,
    /// Channels that compute the same as another of their group.
    pub duplicate_channels: Vec<DuplicateChannels>,
    /// What the channels do on samples of the dataset; `null` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<ActivationReport>,
}

/// What channels do on calibration samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActivationReport {
    pub samples: u64,
    /// The prunable groups whose channels weights read.
    pub groups: Vec<GroupActivations>,
}

/// What the channels of one group do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupActivations {
    pub group: String,
    /// The values that were looked at: those that weights read.
    pub values: Vec<String>,
    /// Root mean square of the values ÷ the median of that over the groups.
    pub contribution: Option<f64>,
    /// Channels whose own root mean square is below a tenth of the group's.
    pub weak_channels: u64,
    /// Channels that were zero throughout; positions in the group.
    pub dead: Vec<u64>,
    /// Channels whose standard deviation is below a hundredth of the group's root mean square.
    pub near_constant: Vec<u64>,
}

/// How much of a model lies in prunable groups. Shares from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// Of the parameters.
    pub parameters: f64,
    /// Of the multiply-accumulates; `null` where they cannot be counted, for the reason in `size.macs_unknown`.
    pub macs: Option<f64>,
}

/// Channels that can only be removed together, and all that are alike: the same axes of the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyzedGroup {
    /// Name after its first member.
    pub name: String,
    /// Weights and axes that are cut together.
    pub members: Vec<AnalyzedMember>,
    /// Channels (neurons, heads, positions within heads) that can be chosen among.
    pub width: u64,
    /// Parameters that lie in these channels. Groups share parameters: a weight has channels on two axes.
    pub parameters: u64,
    /// Multiply-accumulates for batch 1 that need these channels; shared as parameters are. `null` where they cannot be
    /// counted.
    pub macs: Option<u64>,
    pub prunable: bool,
    /// What keeps the group; `null` where it is prunable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_by: Option<FrozenBy>,
    /// Root mean square of the group's weights ÷ the median of that over the prunable groups; `null` for frozen groups, and
    /// where no weight can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contribution: Option<f64>,
    /// Channels whose own root mean square is below a tenth of the group's.
    #[serde(default)]
    pub weak_channels: u64,
}

/// An axis of a weight in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnalyzedMember {
    pub initializer: String,
    pub axis: u64,
    /// Operator that uses it, as `OpType node_name`.
    pub operator: String,
}

/// What keeps a group from being cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FrozenBy {
    /// Operator that forbids it, as `OpType node_name`; `null` for inputs and outputs of the model.
    pub operator: Option<String>,
    /// The value whose axis has to stay.
    pub tensor: Option<String>,
    pub reason: String,
    /// What the user can do about it, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayerReport {
    /// Name of the node, or of its first output where it has none.
    pub name: String,
    pub operator: String,
    /// Of the first output, as far as it is known before the model runs.
    pub output_shape: Option<Vec<Axis>>,
    /// In constants that the node reads; a constant that several nodes read counts at each.
    pub parameters: u64,
    /// For batch 1; 0 for operators that do not multiply and add.
    pub macs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs_unknown: Option<String>,
    /// Share of the parameters that are zero; `null` without parameters that can be read.
    pub sparsity: Option<f64>,
}

/// A group whose weights are small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LowContribution {
    pub group: String,
    /// As in the group.
    pub contribution: f64,
    pub parameters: u64,
}

/// Channels of one group that carry nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadChannels {
    pub group: String,
    /// Channels whose every incoming weight is zero: they are constant. Positions in the group.
    pub without_input: Vec<u64>,
    /// Channels whose every outgoing weight is zero: nothing reads them.
    pub without_output: Vec<u64>,
}

/// Channels of one group that compute the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DuplicateChannels {
    pub group: String,
    /// Sets of two or more channels with equal incoming weights; positions in the group.
    pub sets: Vec<Vec<u64>>,
}
