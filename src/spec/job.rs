//! A job: what is asked for, where it stands, what its steps are.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::analyze::AnalyzeSpec;
use super::evaluate::EvaluateSpec;
use super::failure::FailureCode;
use super::prune::{Criterion, Method, PruneRequest, PruneSpec, Rung};
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::prune::Target;

    fn request(kind: &str, spec: &Value) -> JobRequest {
        serde_json::from_value(json!({
            "kind": kind,
            "model_id": "018f0000-0000-7000-8000-000000000001",
            "dataset_id": "018f0000-0000-7000-8000-000000000002",
            "spec": spec,
        }))
        .expect("a well-formed request")
    }

    #[test]
    fn an_empty_spec_gets_the_defaults() {
        let job = request("prune", &json!({})).parse().unwrap();
        let [Step { spec: StepSpec::Prune(spec), .. }] = job.steps.as_slice() else { panic!("{job:?}") };
        assert_eq!(spec.target, Target::MacsKept(0.5));
        assert_eq!(spec.round_to, 8.into());
    }

    #[test]
    fn an_analysis_needs_nothing_and_has_its_patterns_checked() {
        let job = request("analyze", &json!({})).parse().unwrap();
        assert_eq!(job.steps[0].spec, StepSpec::Analyze(AnalyzeSpec::default()));
        let error = request("analyze", &json!({"exclude": ["a["]})).parse().unwrap_err();
        assert_eq!((error.pointer.as_str(), error.message.as_str()), ("/spec/exclude", "`a[` is not a glob pattern"));
    }

    #[test]
    fn a_pruned_model_is_recovered_where_there_is_a_dataset() {
        let recovery = |request: &JobRequest| match request.parse().unwrap().steps.as_slice() {
            [Step { spec: StepSpec::Prune(spec), .. }] => spec.recovery.clone(),
            other => panic!("{other:?}"),
        };
        let with = request("prune", &json!({}));
        assert_eq!(recovery(&with), [Rung::LeastSquares]);
        assert_eq!(recovery(&request("prune", &json!({"recovery": []}))), []);
        let without = |spec| JobRequest { dataset_id: None, ..request("prune", &spec) };
        assert_eq!(recovery(&without(json!({}))), []);
        let error = without(json!({"recovery": ["bias"]})).parse().unwrap_err();
        assert_eq!((error.code, error.pointer.as_str()), (FailureCode::DatasetRequired, "/dataset_id"));
    }

    #[test]
    fn samples_that_are_made_stand_for_a_dataset() {
        let without = |spec| JobRequest { dataset_id: None, ..request("prune", &spec) };
        for criterion in crate::spec::prune::Criterion::ALL {
            assert!(without(json!({"criterion": criterion, "synthetic": {}})).parse().is_ok(), "{criterion:?}");
        }
        let job = without(json!({"synthetic": {"match_batch_norm": true}})).parse().unwrap();
        let [Step { spec: StepSpec::Prune(spec), .. }] = job.steps.as_slice() else { panic!("{job:?}") };
        assert_eq!((spec.criterion, spec.recovery.as_slice()), (Criterion::Obs, &[Rung::LeastSquares][..]));

        let both = request("prune", &json!({"synthetic": {}})).parse().unwrap_err();
        assert_eq!((both.code, both.pointer.as_str()), (FailureCode::InvalidSpec, "/spec/synthetic"));
        let steps = json!({"steps": [{"kind": "prune", "spec": {"synthetic": {}}}, {"kind": "evaluate"}]});
        let job = request("pipeline", &steps).parse().unwrap();
        assert_eq!(job.steps.iter().map(|step| step.dataset_id.is_some()).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn channels_are_chosen_by_what_cannot_be_repaired_where_there_is_a_dataset() {
        let criterion = |request: &JobRequest| match request.parse().unwrap().steps.as_slice() {
            [Step { spec: StepSpec::Prune(spec), .. }] => spec.criterion,
            other => panic!("{other:?}"),
        };
        assert_eq!(criterion(&request("prune", &json!({}))), Criterion::Obs);
        assert_eq!(criterion(&request("prune", &json!({"criterion": "l1"}))), Criterion::L1);
        assert_eq!(criterion(&request("prune", &json!({"method": "unstructured"}))), Criterion::L2);
        let without = JobRequest { dataset_id: None, ..request("prune", &json!({})) };
        assert_eq!(criterion(&without), Criterion::L2);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name_and_place() {
        let error =
            request("pipeline", &json!({"steps": [{"kind": "prune", "spec": {"ratio": 0.5}}]})).parse().unwrap_err();
        assert_eq!(error.pointer, "/spec/steps/0/spec/ratio");
        assert!(error.message.contains("unknown field `ratio`"), "{error}");
    }

    #[test]
    fn a_target_holds_exactly_one() {
        let error = request("prune", &json!({"target": {"macs_kept": 0.5, "params_kept": 0.5}})).parse().unwrap_err();
        assert!(error.pointer.starts_with("/spec/target"), "{error}");
    }

    #[test]
    fn a_dry_run_can_only_be_the_last_step() {
        let steps = |first: bool, second: bool| {
            let step = |dry_run| json!({"kind": "prune", "spec": {"dry_run": dry_run}});
            request("pipeline", &json!({"steps": [{"kind": "evaluate"}, step(first), step(second)]})).parse()
        };
        assert_eq!(steps(true, true).unwrap_err().pointer, "/spec/steps/1/spec/dry_run");
        assert!(steps(false, true).is_ok());
    }

    #[test]
    fn what_a_prune_request_cannot_mean_is_refused_with_its_field() {
        let table = [
            (json!({"method": "unstructured", "criterion": "fpgm"}), "criterion"),
            (json!({"method": "unstructured", "normalizer": "max"}), "normalizer"),
            (json!({"method": "unstructured", "reduction": "max"}), "reduction"),
            (json!({"method": "unstructured", "bounds": {"a": {"min_width": 4}}}), "bounds"),
            (json!({"method": "unstructured", "target": {"bytes": 1000}}), "target"),
            (json!({"target": {"bytes": 0}}), "target"),
            (json!({"bounds": {"a": {}}}), "bounds"),
            (json!({"bounds": {"[": {"min_width": 4}}}), "bounds"),
            (json!({"bounds": {"a": {"min_width": 0}}}), "bounds"),
            (json!({"bounds": {"a": {"max_removed": 1.5}}}), "bounds"),
        ];
        for (spec, field) in table {
            let error = request("prune", &spec).parse().expect_err(field);
            assert_eq!(error.pointer, format!("/spec/{field}"), "{spec}: {error}");
        }
    }

    #[test]
    fn a_criterion_that_looks_at_samples_is_refused_without_a_dataset() {
        for criterion in crate::spec::prune::Criterion::ALL {
            let mut request = request("prune", &json!({"criterion": criterion}));
            assert!(request.parse().is_ok(), "{criterion:?}");
            request.dataset_id = None;
            let refused = request.parse().err().map(|error| (error.code, error.pointer));
            let expected = criterion.needs_data().then(|| (FailureCode::DatasetRequired, "/dataset_id".to_owned()));
            assert_eq!(refused, expected, "{criterion:?}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_its_place() {
        let error =
            request("retrain", &json!({"optimizer": {"kind": "sgd", "learning_rate": -1}})).parse().unwrap_err();
        assert_eq!(error.pointer, "/spec/optimizer/learning_rate");
    }

    #[test]
    fn a_checked_spec_survives_storage() {
        let steps = json!({"steps": [{"kind": "prune"}, {"kind": "retrain"}, {"kind": "evaluate"}]});
        let job = request("pipeline", &steps).parse().unwrap();
        let stored = serde_json::to_value(&job).unwrap();
        assert_eq!(serde_json::from_value::<JobSpec>(stored).unwrap(), job);
    }
}
