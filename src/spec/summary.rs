//! What an upload is known by: found once by the inspecting child, stored with the row, shown by the API, and enough to
//! refuse a job whose dataset does not fit its model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::preprocess::Preprocess;

/// What is known of a model without running it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelSummary {
    pub inputs: Vec<ValueSummary>,
    pub outputs: Vec<ValueSummary>,
    /// Operator set version by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    pub ir_version: i64,
    /// The exporter, as the file names it.
    pub producer: Option<String>,
    /// Nodes in the main graph.
    pub nodes: u64,
    /// Elements of all floating-point initializers, each counted once.
    pub parameters: u64,
    /// Multiply-accumulates for batch 1; `None` with the reason in `macs_unknown`.
    pub macs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs_unknown: Option<String>,
    /// What the import found worth telling: initializers listed as inputs, stale shapes, a batch fixed at export.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A graph input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueSummary {
    pub name: String,
    /// ONNX element type in lower case: `float`, `int64`, `uint8`, …
    pub dtype: String,
    /// One entry an axis: a size, a name, or null where nothing is known. `None` where the rank is unknown.
    pub shape: Option<Vec<Axis>>,
}

/// Size of an axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Axis {
    Size(u64),
    Symbol(String),
    Unknown,
}

/// What is known of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatasetSummary {
    pub format: DatasetFormat,
    pub samples: u64,
    /// Arrays other than the labels; of an image folder one, named `image`.
    pub arrays: Vec<ArraySummary>,
    /// Number of classes: folders of an image set, 1 + the largest label of an npz. `None` without labels.
    pub classes: Option<u64>,
    /// Names of the classes in label order; folder names sorted bytewise, empty for an npz.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Preprocessing kept with the dataset.
    pub preprocess: Option<Preprocess>,
    /// What the inspection found worth telling: files of the archive that are not part of the dataset.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Kind of dataset file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatasetFormat {
    Npz,
    ImageFolder,
}

/// One array of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArraySummary {
    pub name: String,
    /// numpy's name: `uint8`, `float32`, `int64`, …
    pub dtype: String,
    /// Shape of one sample (without the first axis); of images after preprocessing where its size is known.
    pub sample_shape: Vec<u64>,
}

/// What an inspecting child found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Inspection {
    Model(ModelSummary),
    Dataset(DatasetSummary),
}
