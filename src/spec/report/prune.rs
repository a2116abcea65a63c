//! What a prune step did: groups, layers, blocks, and what stayed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Certificate, Drift, RecoveryReport, Size, SyntheticReport};

/// What a prune step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PruneReport {
    pub method: String,
    pub criterion: String,
    pub size_before: Size,
    pub size_after: Size,
    /// Share that went of the prunable channels (structured), weights (unstructured) or blocks (depth).
    pub removed: f64,
    pub groups: Vec<GroupReport>,
    /// The residual blocks that could go (depth).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockReport>,
    /// The layers that were factored (low rank).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReport>,
    /// What was left alone, with the reason.
    pub frozen: Vec<Frozen>,
    /// Share of the parameters that lie in prunable groups.
    pub coverage_parameters: f64,
    /// Whether this is a plan alone: no model was made, and the sizes after are those that it would have.
    #[serde(default)]
    pub dry_run: bool,
    /// `None` of a dry run.
    pub certificate: Option<Certificate>,
    /// What was done to recover the cut model, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<RecoveryReport>,
    /// That the recovered model runs as the original does; `certificate` is that of the cut before. `None` where nothing was
    /// recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_certificate: Option<Certificate>,
    /// What the samples were made from that stood for a dataset; `None` where they are of one, or there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<SyntheticReport>,
    /// How far the model that came out is from the original, on samples of the dataset or made ones; `None` without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// In which form the zeros are kept in the file (unstructured).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredReport>,
    /// Norm of the difference of the outputs ÷ norm of the original's on the certificate's inputs, where the method changes
    /// the function; `None` where outputs are not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_error: Option<f64>,
    /// How long the model takes before and after, where that was the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<PruneLatency>,
    /// Notes of the import and the surgery, each a sentence.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How weights with zeros are kept, and what the other form would take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredReport {
    /// `sparse_initializer`, or `dense`.
    pub form: String,
    /// Weights that are kept by their elements that are not zero.
    pub tensors: u64,
    /// Bytes of the file with every weight dense.
    pub dense_bytes: u64,
    /// Bytes of the file in sparse form, where that is smaller.
    pub sparse_bytes: Option<u64>,
    /// Why the form is dense.
    pub reason: Option<String>,
}

/// A cut that was chosen by how long the model takes on the worker's ONNX Runtime. Times are medians of runs in turns, for
/// batch 1 or the batch that the model has fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PruneLatency {
    pub threads: u32,
    /// What was asked for.
    pub target_ms: f64,
    /// Measured: the original beside the cut model.
    pub before_ms: f64,
    /// What the table of parts said of the cut model before it was measured.
    pub predicted_ms: f64,
    /// Measured: the cut model beside the original.
    pub after_ms: f64,
    /// The spread of the single runs of the cut model.
    pub after_p10_ms: f64,
    pub after_p90_ms: f64,
    /// Cut models that were measured until one met the target.
    pub rounds: u32,
    /// Parts of models that were timed for the prediction, and those whose times were known from jobs before.
    pub parts_timed: u64,
    pub parts_known: u64,
    /// Whether no other attempt of this service worked on the machine meanwhile.
    pub undisturbed: bool,
}

/// One residual block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockReport {
    /// The sum that the block ends in.
    pub name: String,
    /// The value that stands for the sum where the block is gone.
    pub shortcut: String,
    /// Nodes of the block, its addition included.
    pub operators: u64,
    pub parameters: u64,
    /// Norm of what the block adds ÷ norm of its shortcut, on calibration samples or drawn inputs; the least goes first.
    /// `None` where values are not finite.
    pub change: Option<f64>,
    pub removed: bool,
}

/// One layer that was replaced by factors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayerReport {
    /// The weight.
    pub name: String,
    /// The operator, as `OpType node_name`.
    pub operator: String,
    /// `svd` (two factors), `tucker2` (a kernel between two 1 × 1 convolutions), `tucker2_outputs` or `tucker2_inputs`
    /// (one of the 1 × 1 convolutions is left out).
    pub kind: String,
    /// Width between the factors, in the order of the data.
    pub ranks: Vec<u64>,
    pub outputs: u64,
    pub inputs: u64,
    /// Share of the weight's squared norm that the factors keep.
    pub energy_kept: f64,
    pub parameters_before: u64,
    pub parameters_after: u64,
}

/// One group of coupled channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupReport {
    /// Name after its first member.
    pub name: String,
    /// Initializers and axes that are cut together.
    pub members: Vec<GroupMember>,
    pub width_before: u64,
    pub width_after: u64,
}

/// An initializer axis in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupMember {
    pub initializer: String,
    pub axis: u64,
}

/// Something that pruning left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Frozen {
    /// Initializer (with axis) or value.
    pub what: String,
    /// Operator that forbids it, as `OpType node_name`.
    pub operator: Option<String>,
    pub reason: String,
}
