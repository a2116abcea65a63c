//! The metric report of a job. A figure that could not be had is `null` with a reason beside it.

mod certificate;
mod measured;
mod prune;
mod recovery;
mod training;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use certificate::{Certificate, CertificateCheck};
pub use measured::{ClassQuality, Latency, Measured, Quality, Size};
pub use prune::{BlockReport, Frozen, GroupMember, GroupReport, LayerReport, PruneLatency, PruneReport, StoredReport};
pub use recovery::{Drift, RecoveryReport, RepairedLayer, StatisticsMatch, SyntheticInput, SyntheticReport};
pub use training::{EpochReport, EvaluateReport, RetrainReport};

use super::analysis::AnalyzeReport;
use super::job::{JobKind, StepKind};

/// What a job found out, in one shape for every kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Version of this shape.
    pub schema_version: u32,
    pub kind: JobKind,
    pub job_id: Uuid,
    /// The model the job started from.
    pub model_id: Uuid,
    pub model_name: String,
    /// The model that the candidate is held against, where there is one.
    #[serde(default)]
    pub baseline: Option<Measured>,
    /// The model that came out (or, of an evaluation, the model that was asked about).
    #[serde(default)]
    pub candidate: Option<Measured>,
    /// One entry a step; a job that is not a pipeline has one.
    pub steps: Vec<StepReport>,
    pub environment: Environment,
}

/// Where and with what the figures were measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    pub secateur_version: String,
    /// Version of the loaded ONNX Runtime library.
    pub onnx_runtime: Option<String>,
    pub cpu: String,
    pub cores: u32,
    /// Threads of the job's numeric work.
    pub threads: u32,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepReport {
    pub step: usize,
    pub kind: StepKind,
    /// Running time of the step, over all attempts.
    pub duration_ms: u64,
    /// Things worth knowing that are not failures, each a sentence.
    #[serde(default)]
    pub findings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyze: Option<AnalyzeReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain: Option<RetrainReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateReport>,
}

impl StepReport {
    /// The proof that came with the step's model.
    pub fn certificate(&self) -> Option<&Certificate> {
        let cut = self.prune.as_ref().and_then(|prune| {
            let recovered = prune.recovered_certificate.as_ref();
            recovered.or(prune.certificate.as_ref())
        });
        cut.or_else(|| self.retrain.as_ref()?.certificate.as_ref())
    }
}
