//! What an analyze job may ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::preprocess::Preprocess;

/// An analyze job; every field has a default that a first-time user would want. What would be left alone by a prune job of
/// the same `exclude`, `exclude_operators` and `keep_normalized` is frozen here too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyzeSpec {
    /// Glob patterns of node or initializer names whose channels stay; one that matches nothing fails the job.
    pub exclude: Vec<String>,
    /// Operator types whose outputs keep their channels; one that the model does not have fails the job.
    pub exclude_operators: Vec<String>,
    /// Leaves alone the axes that a mean, a norm or a softmax runs over, such as the residual stream of a transformer.
    pub keep_normalized: bool,
    /// Sizes of the inputs' free axes other than the batch, by input name; needed where MACs depend on them.
    pub example_shapes: BTreeMap<String, Vec<u64>>,
    /// Samples that are drawn from the dataset, where there is one, to see what channels do, 1 to 65,536. Labels are not
    /// needed.
    pub calibration_samples: u32,
    /// Replaces the dataset's own preprocessing.
    pub preprocess: Option<Preprocess>,
    /// Seed of the drawn samples.
    pub seed: u64,
}

impl Default for AnalyzeSpec {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            exclude_operators: Vec::new(),
            keep_normalized: false,
            example_shapes: BTreeMap::new(),
            calibration_samples: 256,
            preprocess: None,
            seed: 1,
        }
    }
}

impl AnalyzeSpec {
    /// Checks patterns and numbers.
    ///
    /// Errors: the name of the field that cannot be, and why.
    pub fn parse(self) -> Result<Self, (&'static str, String)> {
        if let Some(bad) = self.exclude.iter().find(|pattern| globset::Glob::new(pattern).is_err()) {
            return Err(("exclude", format!("`{bad}` is not a glob pattern")));
        }
        if !(1..=65_536).contains(&self.calibration_samples) {
            let message = format!("must be between 1 and 65536, is {}", self.calibration_samples);
            return Err(("calibration_samples", message));
        }
        if let Some((field, reason)) = self.preprocess.as_ref().and_then(Preprocess::defect) {
            return Err(("preprocess", format!("{field} {reason}")));
        }
        Ok(self)
    }
}
