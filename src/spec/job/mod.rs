//! A job: what is asked for, where it stands, what its steps are.

mod request;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub(crate) use request::read;
pub use request::{JobRequest, PipelineRequest, SpecError, SpecRequest, StepRequest, StepSpecRequest};

use super::analyze::AnalyzeSpec;
use super::evaluate::EvaluateSpec;
use super::prune::PruneSpec;
use super::retrain::RetrainSpec;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Analyze,
    Prune,
    Retrain,
    Evaluate,
    Pipeline,
}

impl JobKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Analyze, Self::Prune, Self::Retrain, Self::Evaluate, Self::Pipeline];

    /// The kind as it stands in JSON and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Analyze => "analyze",
            Self::Prune => "prune",
            Self::Retrain => "retrain",
            Self::Evaluate => "evaluate",
            Self::Pipeline => "pipeline",
        }
    }
}

/// Where a job stands; the transitions are drawn in `docs/QUEUE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    Queued,
    Running,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobStatus {
    /// The status as it stands in JSON and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job has ended: nothing about it changes any more.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What a running attempt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Loading,
    Analyzing,
    Pruning,
    Recovering,
    Certifying,
    Retraining,
    Evaluating,
    Publishing,
}

/// What one step of a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    Analyze,
    Prune,
    Retrain,
    Evaluate,
}

impl StepKind {
    /// The kind as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Analyze => "analyze",
            Self::Prune => "prune",
            Self::Retrain => "retrain",
            Self::Evaluate => "evaluate",
        }
    }

    /// Whether a step of this kind makes a model; the others only look at one.
    #[must_use]
    pub fn makes_a_model(self) -> bool {
        matches!(self, Self::Prune | Self::Retrain)
    }
}

/// A job that has been checked: one or more steps. A job that is not a pipeline has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    pub kind: JobKind,
    pub steps: Vec<Step>,
}

/// One checked step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The dataset of this step; `None` where it needs none and none was given.
    pub dataset_id: Option<Uuid>,
    #[serde(flatten)]
    pub spec: StepSpec,
}

/// The settings of one checked step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "spec", rename_all = "snake_case")]
pub enum StepSpec {
    Analyze(AnalyzeSpec),
    Prune(PruneSpec),
    Retrain(RetrainSpec),
    Evaluate(EvaluateSpec),
}

impl StepSpec {
    /// What the step does.
    #[must_use]
    pub fn kind(&self) -> StepKind {
        match self {
            Self::Analyze(_) => StepKind::Analyze,
            Self::Prune(_) => StepKind::Prune,
            Self::Retrain(_) => StepKind::Retrain,
            Self::Evaluate(_) => StepKind::Evaluate,
        }
    }
}
