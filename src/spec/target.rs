//! What a prune job is to reach.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a prune job is to reach; exactly one. Shares are of the original and lie in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Share of each group's channels (local) or of all channels (global) to remove.
    ChannelsRemoved(f64),
    /// Share of the multiply-accumulates to keep, at most.
    MacsKept(f64),
    /// Share of the parameters to keep, at most.
    ParamsKept(f64),
    /// Bytes of the ONNX file, at most.
    Bytes(u64),
    /// Milliseconds of one run on the worker's ONNX Runtime, at most: batch 1, `latency_threads` threads. Predicted from a
    /// table measured part by part, and measured at the end (structured only).
    LatencyMs(f64),
    /// Share of the original's time of one run to keep, at most; measured as `latency_ms` is (structured only).
    LatencyKept(f64),
    /// Share of the prunable weights to set to zero (unstructured only).
    Sparsity(f64),
    /// At most `n` weights that are not zero in each run of `m` along the axis that is summed over, as `"2:4"` (unstructured
    /// only). The scope does not matter then.
    NOfM(NOfM),
    /// Residual blocks to leave out (depth only).
    BlocksRemoved(u32),
    /// Share of the squared singular values that the factors of each layer keep at least (low rank only).
    Energy(f64),
    /// Share of each layer's rank that its factors have, rounded up (low rank only).
    RankRatio(f64),
}

/// A pattern of zeros: at most `n` of `m` neighbours are not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NOfM {
    n: u32,
    m: u32,
}

impl NOfM {
    /// The longest run that is taken; hardware has 4 to 32.
    const LONGEST: u32 = 1024;

    /// Weights of a run that may stay.
    pub fn kept(self) -> usize {
        self.n as usize
    }

    /// Length of a run.
    pub fn run(self) -> usize {
        self.m as usize
    }
}

impl utoipa::PartialSchema for NOfM {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{ObjectBuilder, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]+:[0-9]+$"))
            .examples(["2:4"])
            .description(Some("At most `n` of `m` neighbours are not zero, 1 ≤ n < m ≤ 1024."))
            .into()
    }
}

impl ToSchema for NOfM {}

impl TryFrom<String> for NOfM {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
        match parts {
            Some((n, m)) if 1 <= n && n < m && m <= Self::LONGEST => Ok(Self { n, m }),
            _ => {
                Err(format!("`{text}` is not a pattern like `2:4`: n of m weights stay, 1 ≤ n < m ≤ {}", Self::LONGEST))
            }
        }
    }
}

impl From<NOfM> for String {
    fn from(pattern: NOfM) -> Self {
        pattern.to_string()
    }
}

impl std::fmt::Display for NOfM {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.n, self.m)
    }
}

impl Target {
    /// The name of the field in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelsRemoved(_) => "channels_removed",
            Self::MacsKept(_) => "macs_kept",
            Self::ParamsKept(_) => "params_kept",
            Self::Bytes(_) => "bytes",
            Self::LatencyMs(_) => "latency_ms",
            Self::LatencyKept(_) => "latency_kept",
            Self::Sparsity(_) => "sparsity",
            Self::NOfM(_) => "n_of_m",
            Self::BlocksRemoved(_) => "blocks_removed",
            Self::Energy(_) => "energy",
            Self::RankRatio(_) => "rank_ratio",
        }
    }

    /// Whether it is about how long the model takes on this machine.
    pub fn is_measured(self) -> bool {
        matches!(self, Self::LatencyMs(_) | Self::LatencyKept(_))
    }

    /// The share that it names, where it names one.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::ChannelsRemoved(share)
            | Self::MacsKept(share)
            | Self::ParamsKept(share)
            | Self::LatencyKept(share)
            | Self::Sparsity(share)
            | Self::Energy(share)
            | Self::RankRatio(share) => Some(share),
            Self::Bytes(_) | Self::LatencyMs(_) | Self::NOfM(_) | Self::BlocksRemoved(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_zeros_is_read_and_written_as_it_is_said() {
        let target: Target = serde_json::from_str(r#"{"n_of_m": "2:4"}"#).unwrap();
        assert_eq!(serde_json::to_string(&target).unwrap(), r#"{"n_of_m":"2:4"}"#);
        for bad in ["4:2", "4:4", "0:4", "2", "2:x", "1:4096"] {
            let error = serde_json::from_value::<Target>(serde_json::json!({"n_of_m": bad})).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("2:4"), "{error}");
        }
    }
}
