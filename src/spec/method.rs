//! The choices of a prune step by name: its method, where units compete, bounds, rungs of recovery, forms of storage.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How weights with zeros are kept in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// By their other elements (`sparse_initializer`) where that is smaller and ONNX Runtime reads it as the same weights:
    /// from about two thirds of zeros on.
    #[default]
    Auto,
    /// As they are, for runtimes that do not read sparse initializers.
    Dense,
}

/// A repair of a pruned model that needs no labels and takes no gradient steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Biases make up for what the means of each layer's outputs have lost.
    Bias,
    /// Mean and variance of every BatchNormalization are taken again.
    BatchNorm,
    /// Weights and biases of each layer become those that come nearest to the original's outputs, in closed form.
    LeastSquares,
}

impl Rung {
    /// The rung as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::BatchNorm => "batch_norm",
            Self::LeastSquares => "least_squares",
        }
    }
}

/// How weights are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Whole channels and neurons go; the tensors become smaller.
    #[default]
    Structured,
    /// Single weights become zero; the tensors keep their shapes.
    Unstructured,
    /// Whole residual blocks are left out, those that change the stream they add to least.
    Depth,
    /// Layers are replaced by products of smaller ones.
    LowRank,
}

/// Over what scores are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All groups, or all weights, compete for one budget.
    #[default]
    Global,
    /// Each group, or each weight tensor, gives the same share; with `wanda` each output of a tensor.
    Local,
    /// Groups of the same structure compete among themselves, and each structure gives the same share. Source: Fang et al.,
    /// "Isomorphic Pruning for Vision Models", ECCV 2024.
    Isomorphic,
}

/// How far the channels of a group may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WidthBound {
    /// Channels that stay at least; all of a group that has fewer.
    #[schema(minimum = 1)]
    pub min_width: Option<u64>,
    /// Share of the channels that goes at most.
    pub max_removed: Option<f64>,
}

impl WidthBound {
    /// How many of a number of channels stay at least.
    #[must_use]
    pub fn least(&self, width: usize) -> usize {
        let by_width = self.min_width.map_or(0, |least| usize::try_from(least).unwrap_or(usize::MAX));
        // The product of a share and a whole number may come out a little above what it is.
        let by_share = self.max_removed.map_or(0, |share| width - (share * width as f64 + 1e-9).floor() as usize);
        by_width.max(by_share).min(width)
    }
}

impl Method {
    /// The name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Unstructured => "unstructured",
            Self::Depth => "depth",
            Self::LowRank => "low_rank",
        }
    }

    /// The targets that a method can be given.
    pub(super) fn targets(self) -> &'static [&'static str] {
        match self {
            Self::Structured => {
                &["channels_removed", "macs_kept", "params_kept", "bytes", "latency_ms", "latency_kept"]
            }
            Self::Unstructured => &["sparsity", "n_of_m"],
            Self::Depth => &["blocks_removed", "params_kept", "macs_kept"],
            Self::LowRank => &["energy", "rank_ratio", "params_kept", "macs_kept"],
        }
    }
}
