//! A job as clients see it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::spec::failure::Failure;
use crate::spec::job::{JobKind, JobStatus, SpecRequest, Stage};
use crate::store::job::Job;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobBody {
    pub id: Uuid,
    pub kind: JobKind,
    pub status: JobStatus,
    /// What the running attempt does, or the last one did.
    pub stage: Option<Stage>,
    /// The step that `stage` belongs to (0-based).
    pub step: u32,
    /// Share of the job that is done, 0 to 1.
    pub progress: f64,
    /// Attempts so far; an attempt that was given back without a fault of its own is not counted.
    pub attempt: u32,
    /// Why the job failed; null otherwise.
    pub error: Option<Failure>,
    /// Name of the model that the job makes, where one was asked for.
    pub name: Option<String>,
    /// The model that the job works on.
    pub model_id: Uuid,
    /// The dataset that was named for the whole job.
    pub dataset_id: Option<Uuid>,
    /// The model that came out; null until the job has succeeded.
    pub output_model_id: Option<Uuid>,
    /// The models of the steps that are done, whatever becomes of the job; the last step's is there once it has succeeded.
    pub models: Vec<StepModel>,
    /// The spec as it was asked for.
    #[schema(value_type = Option<SpecRequest>)]
    pub spec: Value,
    /// Running time after which the job fails.
    pub deadline_seconds: u64,
    pub created_at: DateTime<Utc>,
    /// Start of the first attempt.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub links: JobLinks,
}

/// A model that a step made.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct StepModel {
    /// The step (0-based).
    pub step: u32,
    pub model_id: Uuid,
}

/// Where to go from a job. What there is nothing behind (yet) is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobLinks {
    #[serde(rename = "self")]
    pub self_: String,
    pub events: String,
    /// Null once the job has ended.
    pub cancel: Option<String>,
    /// Null until the job has succeeded.
    pub report: Option<String>,
    /// Null until the job has succeeded, and where nothing was cut.
    pub plan: Option<String>,
    /// The file of the model that came out.
    pub output: Option<String>,
}

impl JobBody {
    /// The job with the models that its steps made.
    pub fn new(job: Job, models: Vec<StepModel>) -> Self {
        let self_ = format!("/v1/jobs/{}", job.id);
        let links = JobLinks {
            events: format!("{self_}/events"),
            cancel: (!job.status.is_finished()).then(|| format!("{self_}/cancel")),
            report: job.report_blob.map(|_| format!("{self_}/report")),
            plan: job.plan_blob.map(|_| format!("{self_}/plan")),
            output: job.output_model_id.map(|id| format!("/v1/models/{id}/content")),
            self_,
        };
        Self {
            id: job.id,
            kind: job.kind,
            status: job.status,
            stage: job.stage,
            step: job.step,
            progress: job.progress,
            attempt: job.attempt,
            error: job.error,
            name: job.name,
            model_id: job.model_id,
            dataset_id: job.dataset_id,
            output_model_id: job.output_model_id,
            models,
            spec: job
                .request
                .get("spec")
                .filter(|spec| !spec.is_null())
                .cloned()
                .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            deadline_seconds: job.deadline_ms.div_ceil(1000),
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            links,
        }
    }
}

/// Puts the models to the jobs that made them.
pub fn bodies(jobs: Vec<Job>, mut models: BTreeMap<Uuid, Vec<StepModel>>) -> Vec<JobBody> {
    jobs.into_iter()
        .map(|job| {
            let made = models.remove(&job.id).unwrap_or_default();
            JobBody::new(job, made)
        })
        .collect()
}
