//! What was done to win back what a cut lost, and on which samples.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Frozen;
use crate::spec::prune::Rung;
use crate::spec::synthetic::Distribution;

/// Samples that were made instead of read. Rungs and drift are measured on them too: what they say holds for such samples, and
/// for those that the model meets as far as they are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyntheticReport {
    /// Samples that were made, those held out included.
    pub samples: u64,
    pub seed: u64,
    pub inputs: Vec<SyntheticInput>,
    /// How near the values came to the statistics of the model's BatchNormalization, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<StatisticsMatch>,
}

/// What one input was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyntheticInput {
    pub name: String,
    /// Shape of one sample.
    pub sample_shape: Vec<u64>,
    pub distribution: Distribution,
}

/// How far the means and deviations of the values before each BatchNormalization are from those that it keeps: root mean
/// square over its channels, in its deviations, the mean over all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatisticsMatch {
    /// `BatchNormalization` operators.
    pub layers: u64,
    /// Gradient steps for each sample.
    pub steps: u64,
    /// As drawn, and after the last step.
    pub before: f64,
    pub after: f64,
    pub duration_ms: u64,
}

/// What one rung of a recovery did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryReport {
    pub rung: Rung,
    /// Samples that it was fitted to.
    pub samples: u64,
    /// Beside the original, on samples that it was not fitted to.
    pub before: Drift,
    pub after: Drift,
    /// Whether the model was kept; one whose outputs came out further from the original's was not.
    pub kept: bool,
    /// What was repaired, in the order of the model.
    pub layers: Vec<RepairedLayer>,
    /// What could not be repaired, or came out no better, with the reason.
    pub skipped: Vec<Frozen>,
    pub duration_ms: u64,
}

/// A layer that was repaired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RepairedLayer {
    /// Operator and name.
    pub layer: String,
    /// Root mean square of the difference of its outputs from the original's ÷ that of the original's, before and after.
    pub error_before: f64,
    pub error_after: f64,
}

/// How far a changed model is from its original, on samples that nothing was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    pub samples: u64,
    /// Norm of the difference of the floating-point outputs ÷ norm of the original's; 0 is equal.
    pub output_error: f64,
    /// Share of the samples for which both models score the same class highest; `None` where the first output holds no
    /// scores of classes.
    #[serde(default)]
    pub agreement: Option<f64>,
    /// Share of the samples for which the changed model scores the label highest; `None` without labels.
    #[serde(default)]
    pub accuracy: Option<f64>,
    /// The same of the original.
    #[serde(default)]
    pub original_accuracy: Option<f64>,
}
