//! The metric report of a job. A figure that could not be had is `null` with a reason beside it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::analysis::AnalyzeReport;
use super::job::{JobKind, StepKind};
use super::prune::Rung;
use super::synthetic::Distribution;

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

/// A model's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    #[serde(default)]
    pub quality: Option<Quality>,
    pub size: Size,
    #[serde(default)]
    pub latency: Vec<Latency>,
}

/// How well a classifier does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Quality {
    pub samples: u64,
    pub accuracy: f64,
    /// Share of the samples whose label is among the `k` best classes.
    pub top_k_accuracy: f64,
    pub k: u32,
    /// Unweighted mean over the classes that occur as label or prediction.
    pub precision_macro: f64,
    pub recall_macro: f64,
    pub f1_macro: f64,
    /// Mean over classes weighted by their support.
    pub precision_weighted: f64,
    pub recall_weighted: f64,
    pub f1_weighted: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of the samples on which this model and the baseline name the same class; `None` for the baseline itself.
    #[serde(default)]
    pub agreement: Option<f64>,
    pub per_class: Vec<ClassQuality>,
    /// Row = label, column = prediction; empty above 200 classes.
    pub confusion_matrix: Vec<Vec<u64>>,
}

/// Figures of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassQuality {
    pub class: String,
    pub support: u64,
    /// 0 where nothing was predicted as this class.
    pub precision: f64,
    /// 0 where the class does not occur.
    pub recall: f64,
    pub f1: f64,
}

/// How large a model is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Size {
    /// The ONNX file.
    pub bytes: u64,
    /// The file under zstd level 3.
    pub compressed_bytes: u64,
    pub parameters: u64,
    pub nonzero_parameters: u64,
    /// Multiply-accumulates for batch 1.
    pub macs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs_unknown: Option<String>,
}

/// How fast a model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// `onnxruntime` or `tract`.
    pub engine: String,
    pub batch_size: u32,
    pub threads: u32,
    /// Timed runs.
    pub runs: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub mean_ms: f64,
    /// Samples per second over the timed runs.
    pub throughput_per_second: f64,
}

/// What a prune step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PruneReport {
    pub method: String,
    pub criterion: String,
    pub size_before: Size,
    pub size_after: Size,
    /// Share that went of the prunable channels (structured), weights (unstructured) or blocks (depth).
    pub removed: f64,
    pub groups: Vec<GroupReport>,
    /// The residual blocks that could go (depth).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockReport>,
    /// The layers that were factored (low rank).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReport>,
    /// What was left alone, with the reason.
    pub frozen: Vec<Frozen>,
    /// Share of the parameters that lie in prunable groups.
    pub coverage_parameters: f64,
    /// Whether this is a plan alone: no model was made, and the sizes after are those that it would have.
    #[serde(default)]
    pub dry_run: bool,
    /// `None` of a dry run.
    pub certificate: Option<Certificate>,
    /// What was done to recover the cut model, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<RecoveryReport>,
    /// That the recovered model runs as the original does; `certificate` is that of the cut before. `None` where nothing was
    /// recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_certificate: Option<Certificate>,
    /// What the samples were made from that stood for a dataset; `None` where they are of one, or there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<SyntheticReport>,
    /// How far the model that came out is from the original, on samples of the dataset or made ones; `None` without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// In which form the zeros are kept in the file (unstructured).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredReport>,
    /// Norm of the difference of the outputs ÷ norm of the original's on the certificate's inputs, where the method changes
    /// the function; `None` where outputs are not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_error: Option<f64>,
    /// How long the model takes before and after, where that was the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<PruneLatency>,
    /// Notes of the import and the surgery, each a sentence.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How weights with zeros are kept, and what the other form would take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredReport {
    /// `sparse_initializer`, or `dense`.
    pub form: String,
    /// Weights that are kept by their elements that are not zero.
    pub tensors: u64,
    /// Bytes of the file with every weight dense.
    pub dense_bytes: u64,
    /// Bytes of the file in sparse form, where that is smaller.
    pub sparse_bytes: Option<u64>,
    /// Why the form is dense.
    pub reason: Option<String>,
}

/// A cut that was chosen by how long the model takes on the worker's ONNX Runtime. Times are medians of runs in turns, for
/// batch 1 or the batch that the model has fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PruneLatency {
    pub threads: u32,
    /// What was asked for.
    pub target_ms: f64,
    /// Measured: the original beside the cut model.
    pub before_ms: f64,
    /// What the table of parts said of the cut model before it was measured.
    pub predicted_ms: f64,
    /// Measured: the cut model beside the original.
    pub after_ms: f64,
    /// The spread of the single runs of the cut model.
    pub after_p10_ms: f64,
    pub after_p90_ms: f64,
    /// Cut models that were measured until one met the target.
    pub rounds: u32,
    /// Parts of models that were timed for the prediction, and those whose times were known from jobs before.
    pub parts_timed: u64,
    pub parts_known: u64,
    /// Whether no other attempt of this service worked on the machine meanwhile.
    pub undisturbed: bool,
}

/// One residual block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockReport {
    /// The sum that the block ends in.
    pub name: String,
    /// The value that stands for the sum where the block is gone.
    pub shortcut: String,
    /// Nodes of the block, its addition included.
    pub operators: u64,
    pub parameters: u64,
    /// Norm of what the block adds ÷ norm of its shortcut, on calibration samples or drawn inputs; the least goes first.
    /// `None` where values are not finite.
    pub change: Option<f64>,
    pub removed: bool,
}

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

/// One layer that was replaced by factors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayerReport {
    /// The weight.
    pub name: String,
    /// The operator, as `OpType node_name`.
    pub operator: String,
    /// `svd` (two factors), `tucker2` (a kernel between two 1 × 1 convolutions), `tucker2_outputs` or `tucker2_inputs`
    /// (one of the 1 × 1 convolutions is left out).
    pub kind: String,
    /// Width between the factors, in the order of the data.
    pub ranks: Vec<u64>,
    pub outputs: u64,
    pub inputs: u64,
    /// Share of the weight's squared norm that the factors keep.
    pub energy_kept: f64,
    pub parameters_before: u64,
    pub parameters_after: u64,
}

/// One group of coupled channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupReport {
    /// Name after its first member.
    pub name: String,
    /// Initializers and axes that are cut together.
    pub members: Vec<GroupMember>,
    pub width_before: u64,
    pub width_after: u64,
}

/// An initializer axis in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupMember {
    pub initializer: String,
    pub axis: u64,
}

/// Something that pruning left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Frozen {
    /// Initializer (with axis) or value.
    pub what: String,
    /// Operator that forbids it, as `OpType node_name`.
    pub operator: Option<String>,
    pub reason: String,
}

/// Proof that the pruned model computes what it should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// `masked_equivalence` (the cut model equals the masked original) or `verified` (loads, runs, finite, same shapes).
    pub kind: String,
    pub passed: bool,
    /// Allowed |difference| ÷ scale of the output.
    pub tolerance: f64,
    pub checks: Vec<CertificateCheck>,
    /// Whether the masked original differs from the unmasked one; where it does not, the check was repeated with random weights.
    pub vacuous_on_own_weights: bool,
}

/// One comparison of the certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CertificateCheck {
    pub engine: String,
    pub output: String,
    pub batch_size: u64,
    /// `own` or `random`; where conditions of branches were set, and loops made to run, how: `own, conditions true`.
    pub weights: String,
    /// Largest |difference| ÷ scale of the output; `None` where the engine declined or nothing was compared but shapes.
    pub error: Option<f64>,
    /// Why the engine did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
}

/// What a retrain step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetrainReport {
    pub epochs: Vec<EpochReport>,
    /// 1-based; by validation accuracy, ties by loss. The model that was kept. `None` without validation: the last was kept.
    pub best_epoch: Option<u32>,
    pub steps: u64,
    pub trained_parameters: u64,
    /// Initializers that were not trained, with the reason.
    pub not_trained: Vec<Frozen>,
    pub training_samples: u64,
    pub validation_samples: u64,
    /// `standard`, or the name of a faster code path.
    pub code_path: String,
    pub threads: u32,
    pub samples_per_second: f64,
    /// That the trained model runs as the one it was made from does; `None` where no inputs for it can be drawn, which a
    /// finding explains.
    #[serde(default)]
    pub certificate: Option<Certificate>,
}

/// Figures of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochReport {
    /// 1-based.
    pub epoch: u32,
    pub learning_rate: f64,
    pub training_loss: f64,
    pub training_accuracy: f64,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
}

/// What an evaluate step measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvaluateReport {
    pub baseline: Option<Measured>,
    pub candidate: Measured,
}
