//! What training and evaluation steps did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Certificate, Frozen, Measured};

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
