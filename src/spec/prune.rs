//! What a prune job may ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::criterion::{Criterion, Normalizer, Reduction};

/// A prune request as it arrives: every field has a default that a first-time user would want.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PruneRequest {
    pub method: Method,
    /// `obs` by default where channels are cut and there is a dataset, otherwise `l2`.
    pub criterion: Option<Criterion>,
    /// Divides the scores of a group; `none` for `lamp`, `taylor`, `fisher` and `obs`, otherwise `mean` (structured only).
    pub normalizer: Option<Normalizer>,
    /// How the scores of the layers of a group make one (structured only).
    pub reduction: Reduction,
    pub scope: Scope,
    /// What is to be reached; half of the MACs (structured), half of the weights zero (unstructured), one block less
    /// (depth) or nine tenths of the energy (low rank) by default.
    pub target: Option<Target>,
    /// Widths of cut axes are rounded up to a multiple of this where the runtime cares; 1 turns rounding off.
    #[schema(default = 8)]
    pub round_to: Option<u32>,
    /// Glob patterns of node or initializer names that are left alone; one that matches nothing fails the job.
    pub exclude: Vec<String>,
    /// Operator types, such as `ConvTranspose`, whose outputs keep their channels (structured) or whose weights get no zeros
    /// (unstructured), and which do not go with a block (depth); one that the model does not have fails the job.
    pub exclude_operators: Vec<String>,
    /// Bounds on the channels of layers, by glob pattern of the names of nodes or their initializers; all that match hold
    /// for the groups of the channels that the layer writes. A pattern that matches nothing fails the job (structured only).
    pub bounds: BTreeMap<String, WidthBound>,
    /// Leaves alone the axes that a mean, a norm or a softmax runs over, such as the residual stream of a transformer. They
    /// are cut by default; the statistics are then those of the channels that are left.
    pub keep_normalized: bool,
    /// Threads of the runtime while latency is measured (targets `latency_ms` and `latency_kept`).
    #[schema(default = 1)]
    pub latency_threads: Option<u32>,
    /// Sizes of the inputs' free axes other than the batch, by input name; needed where MACs or latency depend on them.
    pub example_shapes: BTreeMap<String, Vec<u64>>,
    /// Repairs of the pruned model from the activations of its original on samples of the dataset, in this order; labels
    /// are not needed. `["least_squares"]` with a dataset, nothing without one.
    #[schema(value_type = Option<Vec<Rung>>)]
    pub recovery: Option<Vec<Rung>>,
    /// Samples that are drawn from the dataset, where there is one, to observe the model's activations; as many others are
    /// held out to tell how far the pruned model is from its original. Labels are not needed.
    #[schema(default = 256)]
    pub calibration_samples: Option<u32>,
    /// How weights with zeros are kept in the file (unstructured only).
    pub store: Store,
    /// Seed of the random criterion, of the drawn samples and of the certificate's inputs.
    #[schema(default = 1)]
    pub seed: Option<u64>,
    /// Only plan: the report has groups, widths and sizes, the plan can be read, but no model is made and nothing is
    /// certified.
    pub dry_run: bool,
}

/// How weights with zeros are kept in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// By their other elements (`sparse_initializer`) where that is smaller and ONNX Runtime reads it as the same weights:
    /// from about two thirds of zeros on.
    #[default]
    Auto,
    /// As they are, for runtimes that do not read sparse initializers.
    Dense,
}

/// A prune job that has been checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneSpec {
    pub method: Method,
    pub criterion: Criterion,
    #[serde(default)]
    pub normalizer: Normalizer,
    #[serde(default)]
    pub reduction: Reduction,
    pub scope: Scope,
    pub target: Target,
    pub round_to: u32,
    pub exclude: Vec<String>,
    #[serde(default)]
    pub exclude_operators: Vec<String>,
    #[serde(default)]
    pub bounds: BTreeMap<String, WidthBound>,
    #[serde(default)]
    pub keep_normalized: bool,
    #[serde(default = "one_thread")]
    pub latency_threads: u32,
    #[serde(default)]
    pub example_shapes: BTreeMap<String, Vec<u64>>,
    #[serde(default)]
    pub recovery: Vec<Rung>,
    #[serde(default = "default_calibration_samples")]
    pub calibration_samples: u32,
    #[serde(default)]
    pub store: Store,
    pub seed: u64,
    #[serde(default)]
    pub dry_run: bool,
}

/// Jobs that were stored before there was a choice.
fn default_calibration_samples() -> u32 {
    CALIBRATION_SAMPLES
}

/// Jobs that were stored before latency was a target.
fn one_thread() -> u32 {
    1
}

/// Samples to calibrate on. A closed-form repair of a small network loses about a point of accuracy with half as many and
/// gains little from more.
const CALIBRATION_SAMPLES: u32 = 256;

/// Rungs of a recovery. Each costs as much as a few passes over the samples; repeating them all twice gains nothing more.
const MOST_RUNGS: usize = 8;

/// A repair of a pruned model that needs no labels and takes no gradient steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Biases make up for what the means of each layer's outputs have lost.
    Bias,
    /// Mean and variance of every BatchNormalization are taken again.
    BatchNorm,
    /// Weights and biases of each layer become those that come nearest to the original's outputs, in closed form.
    LeastSquares,
}

impl Rung {
    /// The rung as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::BatchNorm => "batch_norm",
            Self::LeastSquares => "least_squares",
        }
    }
}

/// How weights are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Whole channels and neurons go; the tensors become smaller.
    #[default]
    Structured,
    /// Single weights become zero; the tensors keep their shapes.
    Unstructured,
    /// Whole residual blocks are left out, those that change the stream they add to least.
    Depth,
    /// Layers are replaced by products of smaller ones.
    LowRank,
}

/// Over what scores are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All groups, or all weights, compete for one budget.
    #[default]
    Global,
    /// Each group, or each weight tensor, gives the same share; with `wanda` each output of a tensor.
    Local,
    /// Groups of the same structure compete among themselves, and each structure gives the same share. Source: Fang et al.,
    /// "Isomorphic Pruning for Vision Models", ECCV 2024.
    Isomorphic,
}

/// How far the channels of a group may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WidthBound {
    /// Channels that stay at least; all of a group that has fewer.
    #[schema(minimum = 1)]
    pub min_width: Option<u64>,
    /// Share of the channels that goes at most.
    pub max_removed: Option<f64>,
}

impl WidthBound {
    /// How many of a number of channels stay at least.
    #[must_use]
    pub fn least(&self, width: usize) -> usize {
        let by_width = self.min_width.map_or(0, |least| usize::try_from(least).unwrap_or(usize::MAX));
        // The product of a share and a whole number may come out a little above what it is.
        let by_share = self.max_removed.map_or(0, |share| width - (share * width as f64 + 1e-9).floor() as usize);
        by_width.max(by_share).min(width)
    }
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
    /// Bytes of the ONNX file, at most.
    Bytes(u64),
    /// Milliseconds of one run on the worker's ONNX Runtime, at most: batch 1, `latency_threads` threads. Predicted from a
    /// table measured part by part, and measured at the end (structured only).
    LatencyMs(f64),
    /// Share of the original's time of one run to keep, at most; measured as `latency_ms` is (structured only).
    LatencyKept(f64),
    /// Share of the prunable weights to set to zero (unstructured only).
    Sparsity(f64),
    /// At most `n` weights that are not zero in each run of `m` along the axis that is summed over, as `"2:4"` (unstructured
    /// only). The scope does not matter then.
    NOfM(NOfM),
    /// Residual blocks to leave out (depth only).
    BlocksRemoved(u32),
    /// Share of the squared singular values that the factors of each layer keep at least (low rank only).
    Energy(f64),
    /// Share of each layer's rank that its factors have, rounded up (low rank only).
    RankRatio(f64),
}

/// A pattern of zeros: at most `n` of `m` neighbours are not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NOfM {
    n: u32,
    m: u32,
}

impl NOfM {
    /// The longest run that is taken; hardware has 4 to 32.
    const LONGEST: u32 = 1024;

    /// Weights of a run that may stay.
    pub fn kept(self) -> usize {
        self.n as usize
    }

    /// Length of a run.
    pub fn run(self) -> usize {
        self.m as usize
    }
}

impl utoipa::PartialSchema for NOfM {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{ObjectBuilder, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]+:[0-9]+$"))
            .examples(["2:4"])
            .description(Some("At most `n` of `m` neighbours are not zero, 1 ≤ n < m ≤ 1024."))
            .into()
    }
}

impl ToSchema for NOfM {}

impl TryFrom<String> for NOfM {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
        match parts {
            Some((n, m)) if 1 <= n && n < m && m <= Self::LONGEST => Ok(Self { n, m }),
            _ => {
                Err(format!("`{text}` is not a pattern like `2:4`: n of m weights stay, 1 ≤ n < m ≤ {}", Self::LONGEST))
            }
        }
    }
}

impl From<NOfM> for String {
    fn from(pattern: NOfM) -> Self {
        pattern.to_string()
    }
}

impl std::fmt::Display for NOfM {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.n, self.m)
    }
}

impl Target {
    /// The name of the field in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelsRemoved(_) => "channels_removed",
            Self::MacsKept(_) => "macs_kept",
            Self::ParamsKept(_) => "params_kept",
            Self::Bytes(_) => "bytes",
            Self::LatencyMs(_) => "latency_ms",
            Self::LatencyKept(_) => "latency_kept",
            Self::Sparsity(_) => "sparsity",
            Self::NOfM(_) => "n_of_m",
            Self::BlocksRemoved(_) => "blocks_removed",
            Self::Energy(_) => "energy",
            Self::RankRatio(_) => "rank_ratio",
        }
    }

    /// Whether it is about how long the model takes on this machine.
    pub fn is_measured(self) -> bool {
        matches!(self, Self::LatencyMs(_) | Self::LatencyKept(_))
    }

    /// The share that it names, where it names one.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::ChannelsRemoved(share)
            | Self::MacsKept(share)
            | Self::ParamsKept(share)
            | Self::LatencyKept(share)
            | Self::Sparsity(share)
            | Self::Energy(share)
            | Self::RankRatio(share) => Some(share),
            Self::Bytes(_) | Self::LatencyMs(_) | Self::NOfM(_) | Self::BlocksRemoved(_) => None,
        }
    }
}

impl Method {
    /// The name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Unstructured => "unstructured",
            Self::Depth => "depth",
            Self::LowRank => "low_rank",
        }
    }

    /// The targets that a method can be given.
    fn targets(self) -> &'static [&'static str] {
        match self {
            Self::Structured => {
                &["channels_removed", "macs_kept", "params_kept", "bytes", "latency_ms", "latency_kept"]
            }
            Self::Unstructured => &["sparsity", "n_of_m"],
            Self::Depth => &["blocks_removed", "params_kept", "macs_kept"],
            Self::LowRank => &["energy", "rank_ratio", "params_kept", "macs_kept"],
        }
    }
}

impl PruneRequest {
    /// Checks the request and fills in the defaults.
    ///
    /// Errors: the name of the field that cannot be, and why.
    pub fn parse(self) -> Result<PruneSpec, (&'static str, String)> {
        let target = self.target.unwrap_or(match self.method {
            Method::Structured => Target::MacsKept(0.5),
            Method::Unstructured => Target::Sparsity(0.5),
            Method::Depth => Target::BlocksRemoved(1),
            Method::LowRank => Target::Energy(0.9),
        });
        if let Some(share) = target.share().filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(("target", format!("must be a share between 0 and 1, is {share}")));
        }
        match target {
            Target::Bytes(0) => return Err(("target", "a file has at least 1 byte".into())),
            Target::LatencyMs(ms) if !(ms > 0.0 && ms.is_finite()) => {
                return Err(("target", format!("`latency_ms` must be above 0, is {ms}")));
            }
            _ => {}
        }
        let fitting = self.method.targets();
        if !fitting.contains(&target.name()) {
            let (method, names) = (self.method.name(), fitting.join("`, `"));
            return Err(("target", format!("the method `{method}` takes `{names}`, not `{}`", target.name())));
        }
        if self.method == Method::Structured && self.store != Store::Auto {
            return Err(("store", "belongs to the method `unstructured`".into()));
        }
        let criterion = self.criterion.unwrap_or_default();
        if self.method != Method::Structured {
            self.check_no_channels()?;
        }
        let round_to = self.round_to.unwrap_or(8);
        if !(1..=1024).contains(&round_to) {
            return Err(("round_to", format!("must be between 1 and 1024, is {round_to}")));
        }
        let latency_threads = self.latency_threads.unwrap_or(1);
        if !(1..=1024).contains(&latency_threads) {
            return Err(("latency_threads", format!("must be between 1 and 1024, is {latency_threads}")));
        }
        if self.latency_threads.is_some() && !target.is_measured() {
            return Err(("latency_threads", "belongs to the targets `latency_ms` and `latency_kept`".into()));
        }
        if let Some(bad) = self.exclude.iter().find(|pattern| globset::Glob::new(pattern).is_err()) {
            return Err(("exclude", format!("`{bad}` is not a glob pattern")));
        }
        for (pattern, bound) in &self.bounds {
            check_bound(pattern, bound).map_err(|message| ("bounds", message))?;
        }
        let calibration_samples = self.calibration_samples.unwrap_or(CALIBRATION_SAMPLES);
        if !(1..=65_536).contains(&calibration_samples) {
            return Err(("calibration_samples", format!("must be between 1 and 65536, is {calibration_samples}")));
        }
        let recovery = self.recovery.unwrap_or_default();
        if recovery.len() > MOST_RUNGS {
            return Err(("recovery", format!("holds at most {MOST_RUNGS} rungs, not {}", recovery.len())));
        }
        Ok(PruneSpec {
            method: self.method,
            criterion,
            normalizer: self.normalizer.unwrap_or_else(|| criterion.own_normalizer()),
            reduction: self.reduction,
            scope: self.scope,
            target,
            round_to,
            exclude: self.exclude,
            exclude_operators: self.exclude_operators,
            bounds: self.bounds,
            keep_normalized: self.keep_normalized,
            latency_threads,
            example_shapes: self.example_shapes,
            recovery,
            calibration_samples,
            store: self.store,
            seed: self.seed.unwrap_or(1),
            dry_run: self.dry_run,
        })
    }

    /// Refuses what means nothing where no channels are cut, for what is asked for and not done would go unseen.
    fn check_no_channels(&self) -> Result<(), (&'static str, String)> {
        let only = |field| Err((field, "belongs to the method `structured`".to_owned()));
        match self {
            Self { method: Method::Unstructured, criterion: Some(criterion), .. } if !criterion.scores_weights() => {
                Err(("criterion", format!("`{}` scores channels, not single weights", criterion.as_str())))
            }
            Self { normalizer: Some(_), .. } => only("normalizer"),
            Self { reduction, .. } if *reduction != Reduction::default() => only("reduction"),
            Self { method: Method::Depth | Method::LowRank, store: Store::Dense, .. } => {
                Err(("store", "belongs to the method `unstructured`".to_owned()))
            }
            Self { bounds, .. } if !bounds.is_empty() => only("bounds"),
            Self { scope: Scope::Isomorphic, .. } => only("scope"),
            _ => Ok(()),
        }
    }
}

fn check_bound(pattern: &str, bound: &WidthBound) -> Result<(), String> {
    if globset::Glob::new(pattern).is_err() {
        return Err(format!("`{pattern}` is not a glob pattern"));
    }
    match *bound {
        WidthBound { min_width: None, max_removed: None } => {
            Err(format!("`{pattern}` bounds nothing: give `min_width`, `max_removed` or both"))
        }
        WidthBound { min_width: Some(0), .. } => Err(format!("`min_width` of `{pattern}` must be at least 1")),
        WidthBound { max_removed: Some(share), .. } if !(0.0..=1.0).contains(&share) => {
            Err(format!("`max_removed` of `{pattern}` must be a share between 0 and 1, is {share}"))
        }
        WidthBound { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_zeros_is_read_and_written_as_it_is_said() {
        let target: Target = serde_json::from_str(r#"{"n_of_m": "2:4"}"#).unwrap();
        assert_eq!(serde_json::to_string(&target).unwrap(), r#"{"n_of_m":"2:4"}"#);
        for bad in ["4:2", "4:4", "0:4", "2", "2:x", "1:4096"] {
            let error = serde_json::from_value::<Target>(serde_json::json!({"n_of_m": bad})).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("2:4"), "{error}");
        }
    }

    #[test]
    fn a_target_of_another_method_is_refused_with_those_that_fit() {
        let request = |method, target| PruneRequest { method, target: Some(target), ..PruneRequest::default() };
        let (place, reason) = request(Method::Structured, Target::Sparsity(0.5)).parse().unwrap_err();
        assert_eq!(place, "target");
        assert!(reason.contains("`macs_kept`") && reason.contains("not `sparsity`"), "{reason}");
        assert!(request(Method::Unstructured, Target::MacsKept(0.5)).parse().is_err());
        assert!(request(Method::Unstructured, Target::Sparsity(1.5)).parse().is_err());
    }
}
