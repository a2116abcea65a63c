//! Why a model was not pruned.

use super::allocate::{AllocateError, Unfigured};
use super::certify::CertifyError;
use super::coupling::{Hold, TooManyIndices};
use super::importance::ImportanceError;
use super::latency::LatencyError;
use super::low_rank::ReplaceError;
use super::names::NamesNothing;
use super::observe::ObserveError;
use super::surgery::SurgeryError;
use super::synthetic::SyntheticError;
use crate::onnx::patch::PatchError;
use crate::spec::failure::{Failure, FailureCode};

/// Why a model was not pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error(transparent)]
    Couple(#[from] TooManyIndices),
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    #[error(transparent)]
    Importance(#[from] ImportanceError),
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    #[error(transparent)]
    Certify(#[from] CertifyError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Latency(#[from] LatencyError),
    #[error(transparent)]
    Patch(#[from] PatchError),
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),
    #[error("{source}")]
    Names {
        /// The field of the spec that has the name.
        field: &'static str,
        source: NamesNothing,
    },
    #[error("models below operator set {least} are not pruned; this one has {found}")]
    Opset { least: i64, found: i64 },
}

impl From<(&'static str, NamesNothing)> for PruneError {
    fn from((field, source): (&'static str, NamesNothing)) -> Self {
        Self::Names { field, source }
    }
}

impl PruneError {
    /// The axis that has to stay, where that is what is wrong.
    pub(super) fn into_hold(self) -> Result<Hold, Self> {
        match self {
            Self::Surgery(SurgeryError::Held(hold))
            | Self::Allocate(AllocateError::Unfigured(Unfigured::Surgery(SurgeryError::Held(hold)))) => Ok(hold),
            other => Err(other),
        }
    }
}

impl From<PruneError> for Failure {
    fn from(error: PruneError) -> Self {
        let message = error.to_string();
        match error {
            PruneError::Allocate(AllocateError::Unreachable { .. }) => {
                Self::new(FailureCode::TargetUnreachable, message)
            }
            PruneError::Allocate(AllocateError::MacsUnknown(_) | AllocateError::Unsuitable { .. }) => {
                Self::new(FailureCode::InvalidSpec, message).at("/spec/target")
            }
            PruneError::Allocate(AllocateError::Unfigured(Unfigured::Surgery(source))) => {
                PruneError::Surgery(source).into()
            }
            PruneError::Allocate(AllocateError::Unfigured(Unfigured::Latency(source))) => {
                PruneError::Latency(source).into()
            }
            PruneError::Latency(LatencyError::Inputs(_)) => {
                Self::new(FailureCode::InvalidSpec, message).at("/spec/example_shapes")
            }
            PruneError::Names { field, .. } => {
                Self::new(FailureCode::InvalidSpec, message).at(format!("/spec/{field}"))
            }
            PruneError::Importance(ImportanceError::Observe(source)) => PruneError::Observe(source).into(),
            PruneError::Importance(ImportanceError::NoData { .. }) => {
                Self::new(FailureCode::DatasetRequired, message).at("/dataset_id")
            }
            PruneError::Importance(ImportanceError::NoGradient { .. }) => {
                Self::new(FailureCode::Unsupported, message).at("/spec/criterion")
            }
            PruneError::Importance(ImportanceError::Label { .. }) => {
                Self::new(FailureCode::DatasetMismatch, message).at("/dataset_id")
            }
            PruneError::Importance(ImportanceError::NoScale | ImportanceError::ChannelsOnly { .. }) => {
                Self::new(FailureCode::InvalidSpec, message).at("/spec/criterion")
            }
            PruneError::Importance(ImportanceError::Weight { tensor, .. } | ImportanceError::NotANumber { tensor })
            | PruneError::Surgery(SurgeryError::Tensor { tensor, .. }) => {
                Self::new(FailureCode::InvalidModel, message).at(tensor)
            }
            PruneError::Surgery(SurgeryError::Held(hold)) => {
                Self::new(FailureCode::Unsupported, message).at(hold.value)
            }
            PruneError::Surgery(SurgeryError::Misfit { place }) => Self::new(FailureCode::Internal, message).at(place),
            PruneError::Patch(_) | PruneError::Replace(_) => Self::new(FailureCode::Internal, message),
            PruneError::Certify(CertifyError::Failed { .. }) => Self::new(FailureCode::CertificateFailed, message),
            PruneError::Certify(CertifyError::Original(source) | CertifyError::Engine(source))
            | PruneError::Observe(ObserveError::Engine(source))
            | PruneError::Synthetic(SyntheticError::Engine(source))
            | PruneError::Latency(LatencyError::Engine(source)) => Self { message, ..Self::from(source) },
            PruneError::Observe(ObserveError::Data(source))
            | PruneError::Synthetic(SyntheticError::Samples(source)) => source.into(),
            PruneError::Synthetic(source @ SyntheticError::NoGradient(_)) => {
                Self::new(FailureCode::Unsupported, message).at(source.place())
            }
            PruneError::Synthetic(source) => Self::new(FailureCode::InvalidSpec, message).at(source.place()),
            PruneError::Observe(ObserveError::Untyped { name }) => {
                Self::new(FailureCode::Unsupported, message).at(name)
            }
            PruneError::Couple(_) | PruneError::Certify(CertifyError::Inputs(_)) | PruneError::Opset { .. } => {
                Self::new(FailureCode::Unsupported, message)
            }
        }
    }
}
