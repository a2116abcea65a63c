//! The proof that comes with a cut model.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
