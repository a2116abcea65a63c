//! Requests as they arrive, and how they become specs that cannot be wrong.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{JobKind, JobSpec, Step, StepKind, StepSpec};
use crate::spec::analyze::AnalyzeSpec;
use crate::spec::evaluate::EvaluateSpec;
use crate::spec::failure::FailureCode;
use crate::spec::prune::{Criterion, Method, PruneRequest, Rung};
use crate::spec::retrain::RetrainSpec;

/// `POST /v1/jobs` as it arrives. `spec` is read by the rules of `kind`; unknown fields are refused by name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    pub kind: JobKind,
    /// The model the job works on.
    pub model_id: Uuid,
    /// Data for retraining and evaluation; steps of a pipeline may name another.
    #[serde(default)]
    pub dataset_id: Option<Uuid>,
    /// Settings of the kind; `{}` by default.
    #[serde(default)]
    #[schema(value_type = Option<SpecRequest>)]
    pub spec: Option<Value>,
    /// Name of the model that the job makes; the original's name with a suffix by default.
    #[serde(default)]
    pub name: Option<String>,
    /// Running time after which the job fails with `deadline_exceeded`; the server's setting by default.
    #[serde(default)]
    pub deadline_seconds: Option<u32>,
}

/// The shapes that `spec` may take; which one is said by `kind`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SpecRequest {
    Analyze(AnalyzeSpec),
    Prune(PruneRequest),
    Retrain(RetrainSpec),
    Evaluate(EvaluateSpec),
    Pipeline(PipelineRequest),
}

/// The spec of a pipeline as it arrives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineRequest {
    /// 1 to 32 steps; each takes the model that the one before it made.
    pub steps: Vec<StepRequest>,
}

/// One step of a pipeline as it arrives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRequest {
    pub kind: StepKind,
    /// Replaces the job's dataset for this step.
    #[serde(default)]
    pub dataset_id: Option<Uuid>,
    /// Settings of the kind; `{}` by default.
    #[serde(default)]
    #[schema(value_type = Option<StepSpecRequest>)]
    pub spec: Option<Value>,
}

/// The shapes that a step's `spec` may take; which one is said by its `kind`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum StepSpecRequest {
    Analyze(AnalyzeSpec),
    Prune(PruneRequest),
    Retrain(RetrainSpec),
    Evaluate(EvaluateSpec),
}

/// Why a request is not a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct SpecError {
    /// [`FailureCode::InvalidSpec`] or [`FailureCode::DatasetRequired`].
    pub code: FailureCode,
    /// JSON pointer into the request.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl SpecError {
    fn invalid(pointer: String, message: String) -> Self {
        Self { code: FailureCode::InvalidSpec, pointer, message }
    }

    /// A step, which stands at `at`, has no dataset for `what`.
    fn dataset_required(at: &str, what: &str) -> Self {
        let message = format!(
            "{what} needs a dataset; name one here or for the whole job (a prune step can make samples: `synthetic`)"
        );
        Self { code: FailureCode::DatasetRequired, pointer: format!("{at}/dataset_id"), message }
    }
}

impl JobRequest {
    /// Reads `spec` by the rules of `kind`, fills in the defaults and checks every number.
    ///
    /// Errors: the first place that is wrong, as a JSON pointer.
    pub fn parse(&self) -> Result<JobSpec, SpecError> {
        let steps = match self.kind {
            JobKind::Pipeline => {
                let request: PipelineRequest = read(self.spec.clone(), "/spec")?;
                if request.steps.is_empty() || request.steps.len() > 32 {
                    let message = format!("a pipeline has 1 to 32 steps, not {}", request.steps.len());
                    return Err(SpecError::invalid("/spec/steps".into(), message));
                }
                request
                    .steps
                    .into_iter()
                    .enumerate()
                    .map(|(i, step)| {
                        // What a step says for itself comes before what holds for the whole job.
                        let makes_samples = step.spec.as_ref().is_some_and(|spec| !spec["synthetic"].is_null());
                        let inherited = self.dataset_id.filter(|_| !makes_samples);
                        parse_step(step.kind, step.dataset_id.or(inherited), step.spec, &format!("/spec/steps/{i}"))
                    })
                    .collect::<Result<_, _>>()?
            }
            JobKind::Analyze => vec![parse_step(StepKind::Analyze, self.dataset_id, self.spec.clone(), "")?],
            JobKind::Prune => vec![parse_step(StepKind::Prune, self.dataset_id, self.spec.clone(), "")?],
            JobKind::Retrain => vec![parse_step(StepKind::Retrain, self.dataset_id, self.spec.clone(), "")?],
            JobKind::Evaluate => vec![parse_step(StepKind::Evaluate, self.dataset_id, self.spec.clone(), "")?],
        };
        let plans_only = |step: &Step| matches!(&step.spec, StepSpec::Prune(spec) if spec.dry_run);
        if let Some(step) = steps.iter().rev().skip(1).rev().position(plans_only) {
            return Err(SpecError::invalid(
                format!("/spec/steps/{step}/spec/dry_run"),
                "a dry run makes no model for the next step; it can only be the last".into(),
            ));
        }
        Ok(JobSpec { kind: self.kind, steps })
    }
}

fn parse_step(kind: StepKind, dataset_id: Option<Uuid>, spec: Option<Value>, at: &str) -> Result<Step, SpecError> {
    let pointer = format!("{at}/spec");
    let locate = |(field, message): (&'static str, String)| SpecError::invalid(format!("{pointer}/{field}"), message);
    let spec = match kind {
        StepKind::Analyze => StepSpec::Analyze(read::<AnalyzeSpec>(spec, &pointer)?.parse().map_err(locate)?),
        StepKind::Prune => {
            let mut request = read::<PruneRequest>(spec, &pointer)?;
            if dataset_id.is_some() && request.synthetic.is_some() {
                let message = "the step has a dataset to draw samples from; leave out one of the two".into();
                return Err(SpecError::invalid(format!("{pointer}/synthetic"), message));
            }
            let has_samples = dataset_id.is_some() || request.synthetic.is_some();
            match &request.recovery {
                None if has_samples => request.recovery = Some(vec![Rung::LeastSquares]),
                Some(rungs) if !has_samples && !rungs.is_empty() => {
                    return Err(SpecError::dataset_required(at, "a recovery"));
                }
                _ => {}
            }
            if has_samples && request.method == Method::Structured {
                request.criterion.get_or_insert(Criterion::Obs);
            }
            StepSpec::Prune(request.parse().map_err(locate)?)
        }
        StepKind::Retrain => StepSpec::Retrain(read::<RetrainSpec>(spec, &pointer)?.parse().map_err(locate)?),
        StepKind::Evaluate => StepSpec::Evaluate(read::<EvaluateSpec>(spec, &pointer)?.parse().map_err(locate)?),
    };
    let needs = match &spec {
        StepSpec::Retrain(_) => Some("a retrain step".to_owned()),
        StepSpec::Prune(prune) if prune.criterion.needs_data() && prune.synthetic.is_none() => {
            Some(format!("the criterion `{}`", prune.criterion.as_str()))
        }
        _ => None,
    };
    if let (None, Some(needs)) = (dataset_id, needs) {
        return Err(SpecError::dataset_required(at, &needs));
    }
    Ok(Step { dataset_id, spec })
}

/// Reads a value as `T`; the error's pointer leads to the field.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: Option<Value>, pointer: &str) -> Result<T, SpecError> {
    let value = value.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut pointer = pointer.to_owned();
        for segment in error.path().iter().filter(|segment| !matches!(segment, serde_path_to_error::Segment::Unknown)) {
            pointer.push('/');
            pointer.push_str(segment.to_string().trim_matches(['[', ']']));
        }
        SpecError::invalid(pointer, error.inner().to_string())
    })
}
