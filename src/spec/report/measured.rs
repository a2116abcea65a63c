//! Figures of a model: quality, size, latency.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
