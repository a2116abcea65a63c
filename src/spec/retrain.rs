//! What a retrain job may ask for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::preprocess::Preprocess;

/// A retrain job; every field has a default that a first-time user would want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrainSpec {
    /// Passes over the training part, 1 to 10,000.
    pub epochs: u32,
    /// Ends the training early, counted in optimizer steps over all epochs; the schedule is stretched over what is run.
    pub max_steps: Option<u64>,
    /// Samples per step, 1 to 65,536. A last batch that is not full is left out of its epoch.
    pub batch_size: u32,
    pub optimizer: Optimizer,
    pub schedule: Schedule,
    pub loss: Loss,
    /// Random changes of training images.
    pub augment: Augment,
    /// Share of the dataset held out for validation, stratified by label; 0 validates on nothing.
    pub validation_fraction: f64,
    /// Output that is scored; the first by default.
    pub output: Option<String>,
    /// Replaces the dataset's own preprocessing.
    pub preprocess: Option<Preprocess>,
    /// Seed of the split, the shuffles and the augmentation.
    pub seed: u64,
}

impl Default for RetrainSpec {
    fn default() -> Self {
        Self {
            epochs: 10,
            max_steps: None,
            batch_size: 128,
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            loss: Loss::default(),
            augment: Augment::default(),
            validation_fraction: 0.1,
            output: None,
            preprocess: None,
            seed: 1,
        }
    }
}

/// How gradients change the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// v ← momentum · v + (g + weight_decay · w); w ← w − learning_rate · v, as PyTorch's SGD.
    Sgd {
        #[serde(default = "default_learning_rate")]
        learning_rate: f64,
        #[serde(default = "default_momentum")]
        momentum: f64,
        /// Applied to weights of two or more axes, not to biases and normalisation parameters.
        #[serde(default = "default_weight_decay")]
        weight_decay: f64,
        #[serde(default)]
        nesterov: bool,
    },
}

fn default_learning_rate() -> f64 {
    0.01
}
fn default_momentum() -> f64 {
    0.9
}
fn default_weight_decay() -> f64 {
    5e-4
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd {
            learning_rate: default_learning_rate(),
            momentum: default_momentum(),
            weight_decay: default_weight_decay(),
            nesterov: false,
        }
    }
}

/// How the learning rate changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The full rate after the warm-up.
    Constant {
        #[serde(default)]
        warmup_steps: u64,
    },
    /// Half a cosine from the full rate to 0 after the warm-up.
    Cosine {
        #[serde(default)]
        warmup_steps: u64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Cosine { warmup_steps: 0 }
    }
}

/// What training makes small.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// −Σ target · log softmax(logits), averaged over the batch.
    CrossEntropy {
        /// Share of the target spread evenly over all classes, 0..1.
        #[serde(default)]
        label_smoothing: f64,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::CrossEntropy { label_smoothing: 0.0 }
    }
}

/// Random changes of training images; nothing by default, since what leaves a label true depends on the data.
///
/// Images are floating-point inputs of three axes a sample, which lie as the preprocessing's `layout` says; where the
/// model has none, a finding in the report says that nothing was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirror left to right with probability one half.
    pub horizontal_flip: bool,
    /// Shift by up to this many pixels in each direction. What comes in is 0 after normalisation: the mean colour where a
    /// mean is taken off, black where none is.
    pub crop_padding: u32,
}

impl RetrainSpec {
    /// Checks the numbers.
    ///
    /// Errors: the name of the field that cannot be, and why.
    pub fn parse(self) -> Result<Self, (&'static str, String)> {
        if !(1..=10_000).contains(&self.epochs) {
            return Err(("epochs", format!("must be between 1 and 10000, is {}", self.epochs)));
        }
        if self.max_steps == Some(0) {
            return Err(("max_steps", "must be at least 1".into()));
        }
        if !(1..=65_536).contains(&self.batch_size) {
            return Err(("batch_size", format!("must be between 1 and 65536, is {}", self.batch_size)));
        }
        let Optimizer::Sgd { learning_rate, momentum, weight_decay, .. } = self.optimizer;
        if !(learning_rate.is_finite() && learning_rate > 0.0) {
            return Err(("optimizer/learning_rate", format!("must be a positive number, is {learning_rate}")));
        }
        if !(0.0..1.0).contains(&momentum) {
            return Err(("optimizer/momentum", format!("must lie in 0..1, is {momentum}")));
        }
        if !(weight_decay.is_finite() && weight_decay >= 0.0) {
            return Err(("optimizer/weight_decay", format!("must be 0 or a positive number, is {weight_decay}")));
        }
        let Loss::CrossEntropy { label_smoothing } = self.loss;
        if !(0.0..1.0).contains(&label_smoothing) {
            return Err(("loss/label_smoothing", format!("must lie in 0..1, is {label_smoothing}")));
        }
        if !(0.0..0.9).contains(&self.validation_fraction) {
            return Err(("validation_fraction", format!("must lie in 0..0.9, is {}", self.validation_fraction)));
        }
        if let Some((field, reason)) = self.preprocess.as_ref().and_then(Preprocess::defect) {
            return Err(("preprocess", format!("{field} {reason}")));
        }
        Ok(self)
    }
}
