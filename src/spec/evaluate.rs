//! What an evaluate job may ask for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::preprocess::Preprocess;

/// An evaluate job; every field has a default that a first-time user would want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateSpec {
    /// The model that the candidate is held against; in a pipeline the model it started from by default.
    pub baseline_model_id: Option<Uuid>,
    /// A sample counts as found where its label is among this many best classes; 1 to the number of classes.
    pub top_k: u32,
    /// Samples per inference while quality is measured; a batch fixed in the model wins.
    pub batch_size: u32,
    /// Output that is scored; the first by default.
    pub output: Option<String>,
    /// Replaces the dataset's own preprocessing.
    pub preprocess: Option<Preprocess>,
    /// How latency is measured; `null` leaves it out.
    pub latency: Option<LatencySpec>,
}

impl Default for EvaluateSpec {
    fn default() -> Self {
        Self {
            baseline_model_id: None,
            top_k: 5,
            batch_size: 64,
            output: None,
            preprocess: None,
            latency: Some(LatencySpec::default()),
        }
    }
}

/// Conditions of a latency measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LatencySpec {
    /// Intra-op threads of the runtime, 1 to 1,024.
    pub threads: u32,
    /// Each is measured by itself.
    pub batch_sizes: Vec<u32>,
    /// Time spent on each batch size and model after the warm-up, above 0 to 600.
    pub seconds: f64,
}

impl Default for LatencySpec {
    fn default() -> Self {
        Self { threads: 1, batch_sizes: vec![1], seconds: 2.0 }
    }
}

impl EvaluateSpec {
    /// Checks the numbers.
    ///
    /// Errors: the name of the field that cannot be, and why.
    pub fn parse(self) -> Result<Self, (&'static str, String)> {
        if self.top_k == 0 {
            return Err(("top_k", "must be at least 1".into()));
        }
        if !(1..=65_536).contains(&self.batch_size) {
            return Err(("batch_size", format!("must be between 1 and 65536, is {}", self.batch_size)));
        }
        if let Some((field, reason)) = self.preprocess.as_ref().and_then(Preprocess::defect) {
            return Err(("preprocess", format!("{field} {reason}")));
        }
        if let Some(latency) = &self.latency {
            if !(1..=1024).contains(&latency.threads) {
                return Err(("latency/threads", format!("must be between 1 and 1024, is {}", latency.threads)));
            }
            if latency.batch_sizes.is_empty() || latency.batch_sizes.iter().any(|size| !(1..=65_536).contains(size)) {
                return Err(("latency/batch_sizes", "must hold numbers between 1 and 65536".into()));
            }
            if !(latency.seconds > 0.0 && latency.seconds <= 600.0) {
                return Err(("latency/seconds", format!("must be above 0 and at most 600, is {}", latency.seconds)));
            }
        }
        Ok(self)
    }
}
