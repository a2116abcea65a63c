//! What a prune job may ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::criterion::{Criterion, Normalizer, Reduction};
pub use super::method::{Method, Rung, Scope, Store, WidthBound};
pub use super::rounding::{ByMeasurement, RoundTo};
pub use super::synthetic::Synthetic;
pub use super::target::{NOfM, Target};

/// A prune request as it arrives: every field has a default that a first-time user would want.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PruneRequest {
    pub method: Method,
    /// `obs` by default where channels are cut and there is a dataset or `synthetic`, otherwise `l2`.
    pub criterion: Option<Criterion>,
    /// Divides the scores of a group; `none` for `lamp`, `taylor`, `fisher` and `obs`, otherwise `mean` (structured only).
    pub normalizer: Option<Normalizer>,
    /// How the scores of the layers of a group make one (structured only).
    pub reduction: Reduction,
    pub scope: Scope,
    /// What is to be reached; half of the MACs (structured), half of the weights zero (unstructured), one block less
    /// (depth) or nine tenths of the energy (low rank) by default.
    pub target: Option<Target>,
    /// Widths of cut axes are rounded up to a multiple of this where the runtime cares; 1 turns rounding off. `"measured"`: to the
    /// multiple with which the cut model takes the least time for each multiply-accumulate on the worker (structured only).
    #[schema(default = 8)]
    pub round_to: Option<RoundTo>,
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
    /// Repairs of the pruned model from the activations of its original on samples of the dataset, or on `synthetic` ones,
    /// in this order; labels are not needed. `["least_squares"]` where there are samples, nothing otherwise.
    #[schema(value_type = Option<Vec<Rung>>)]
    pub recovery: Option<Vec<Rung>>,
    /// Samples that are drawn from the dataset, where there is one, to observe the model's activations; as many others are
    /// held out to tell how far the pruned model is from its original. Labels are not needed. Of `synthetic` samples a
    /// quarter as many are held out, and a few more may be made to fill the last batch.
    #[schema(default = 256)]
    pub calibration_samples: Option<u32>,
    /// Makes the samples instead of drawing them from a dataset, for a step that has none. A step of a pipeline that asks
    /// for them leaves the job's dataset aside.
    pub synthetic: Option<Synthetic>,
    /// How weights with zeros are kept in the file (unstructured only).
    pub store: Store,
    /// Seed of the random criterion, of the drawn or made samples and of the certificate's inputs.
    #[schema(default = 1)]
    pub seed: Option<u64>,
    /// Only plan: the report has groups, widths and sizes, the plan can be read, but no model is made and nothing is
    /// certified.
    pub dry_run: bool,
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
    pub round_to: RoundTo,
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
    pub synthetic: Option<Synthetic>,
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
        let round_to = self.round_to.unwrap_or_default();
        if let Some(multiple) = round_to.multiple().filter(|multiple| !(1..=1024).contains(multiple)) {
            return Err(("round_to", format!("must be `measured` or between 1 and 1024, is {multiple}")));
        }
        let latency_threads = self.latency_threads.unwrap_or(1);
        if !(1..=1024).contains(&latency_threads) {
            return Err(("latency_threads", format!("must be between 1 and 1024, is {latency_threads}")));
        }
        if self.latency_threads.is_some() && !target.is_measured() && round_to != RoundTo::MEASURED {
            let belongs = "belongs to the targets `latency_ms` and `latency_kept`, and to `round_to` `measured`";
            return Err(("latency_threads", belongs.into()));
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
        if let Some(synthetic) = &self.synthetic {
            synthetic.check().map_err(|message| ("synthetic", message))?;
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
            synthetic: self.synthetic,
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
    fn a_target_of_another_method_is_refused_with_those_that_fit() {
        let request = |method, target| PruneRequest { method, target: Some(target), ..PruneRequest::default() };
        let (place, reason) = request(Method::Structured, Target::Sparsity(0.5)).parse().unwrap_err();
        assert_eq!(place, "target");
        assert!(reason.contains("`macs_kept`") && reason.contains("not `sparsity`"), "{reason}");
        assert!(request(Method::Unstructured, Target::MacsKept(0.5)).parse().is_err());
        assert!(request(Method::Unstructured, Target::Sparsity(1.5)).parse().is_err());
    }
}
