//! What a prune job may ask for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A prune request as it arrives: every field has a default that a first-time user would want.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PruneRequest {
    pub method: Method,
    pub criterion: Criterion,
    pub scope: Scope,
    /// What is to be reached; half of the MACs (structured) or half of the weights zero (unstructured) by default.
    pub target: Option<Target>,
    /// Widths of cut axes are rounded up to a multiple of this where the runtime cares; 1 turns rounding off.
    #[schema(default = 8)]
    pub round_to: Option<u32>,
    /// Glob patterns of node or initializer names whose channels stay; one that matches nothing fails the job.
    pub exclude: Vec<String>,
    /// Leaves alone the axes that a mean, a norm or a softmax runs over, such as the residual stream of a transformer. They
    /// are cut by default; the statistics are then those of the channels that are left.
    pub keep_normalized: bool,
    /// Sizes of the inputs' free axes other than the batch, by input name; needed where MACs depend on them.
    pub example_shapes: std::collections::BTreeMap<String, Vec<u64>>,
    /// Samples that are drawn from the dataset, where there is one, to observe the model's activations; as many others are
    /// held out to tell how far the pruned model is from its original. Labels are not needed.
    #[schema(default = 256)]
    pub calibration_samples: Option<u32>,
    /// Seed of the random criterion, of the drawn samples and of the certificate's inputs.
    #[schema(default = 1)]
    pub seed: Option<u64>,
}

/// A prune job that has been checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneSpec {
    pub method: Method,
    pub criterion: Criterion,
    pub scope: Scope,
    pub target: Target,
    pub round_to: u32,
    pub exclude: Vec<String>,
    #[serde(default)]
    pub keep_normalized: bool,
    #[serde(default)]
    pub example_shapes: std::collections::BTreeMap<String, Vec<u64>>,
    #[serde(default = "default_calibration_samples")]
    pub calibration_samples: u32,
    pub seed: u64,
}

/// Jobs that were stored before there was a choice.
fn default_calibration_samples() -> u32 {
    CALIBRATION_SAMPLES
}

/// Samples to calibrate on. A closed-form repair of a small network loses about a point of accuracy with half as many and
/// gains little from more.
const CALIBRATION_SAMPLES: u32 = 256;

/// How weights are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Whole channels and neurons go; the tensors become smaller.
    #[default]
    Structured,
    /// Single weights become zero; the tensors keep their shapes.
    Unstructured,
}

/// How channels or weights are scored; higher scores stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Sum of absolute weights.
    L1,
    /// Euclidean norm of the weights.
    #[default]
    L2,
    /// A seeded draw; the baseline that any criterion has to beat.
    Random,
}

/// Over what scores are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All groups compete for one budget.
    #[default]
    Global,
    /// Each group gives the same share.
    Local,
}

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
    /// Share of the prunable weights to set to zero (unstructured only).
    Sparsity(f64),
}

impl PruneRequest {
    /// Checks the request and fills in the defaults.
    ///
    /// Errors: the name of the field that cannot be, and why.
    pub fn parse(self) -> Result<PruneSpec, (&'static str, String)> {
        let target = self.target.unwrap_or(match self.method {
            Method::Structured => Target::MacsKept(0.5),
            Method::Unstructured => Target::Sparsity(0.5),
        });
        let (Target::ChannelsRemoved(share)
        | Target::MacsKept(share)
        | Target::ParamsKept(share)
        | Target::Sparsity(share)) = target;
        if !(0.0..=1.0).contains(&share) {
            return Err(("target", format!("must be a share between 0 and 1, is {share}")));
        }
        match (self.method, target) {
            (Method::Structured, Target::Sparsity(_)) => {
                return Err(("target", "`sparsity` belongs to the method `unstructured`; structured pruning takes `channels_removed`, `macs_kept` or `params_kept`".into()));
            }
            (Method::Unstructured, Target::ChannelsRemoved(_) | Target::MacsKept(_) | Target::ParamsKept(_)) => {
                return Err(("target", "the method `unstructured` takes the target `sparsity`".into()));
            }
            _ => {}
        }
        let round_to = self.round_to.unwrap_or(8);
        if !(1..=1024).contains(&round_to) {
            return Err(("round_to", format!("must be between 1 and 1024, is {round_to}")));
        }
        if let Some(bad) = self.exclude.iter().find(|pattern| globset::Glob::new(pattern).is_err()) {
            return Err(("exclude", format!("`{bad}` is not a glob pattern")));
        }
        let calibration_samples = self.calibration_samples.unwrap_or(CALIBRATION_SAMPLES);
        if !(1..=65_536).contains(&calibration_samples) {
            return Err(("calibration_samples", format!("must be between 1 and 65536, is {calibration_samples}")));
        }
        Ok(PruneSpec {
            method: self.method,
            criterion: self.criterion,
            scope: self.scope,
            target,
            round_to,
            exclude: self.exclude,
            keep_normalized: self.keep_normalized,
            example_shapes: self.example_shapes,
            calibration_samples,
            seed: self.seed.unwrap_or(1),
        })
    }
}
