//! A walk over a file's bytes before anything is decoded.

use crate::spec::attempt::ModelLimits;

/// Why a file is refused before it is decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrescanError {
    #[error("the file is empty")]
    Empty,
}

/// Walks the file's wire fields and holds them against the limits.
pub fn scan(bytes: &[u8], _limits: &ModelLimits) -> Result<(), PrescanError> {
    if bytes.is_empty() {
        return Err(PrescanError::Empty);
    }
    Ok(())
}
