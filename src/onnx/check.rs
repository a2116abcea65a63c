//! Whether a decoded model is sound.

use super::proto::ModelProto;

/// Why a model is not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error("the model has no graph")]
    NoGraph,
}

/// Checks a model.
pub fn check(model: &ModelProto) -> Result<(), Unsound> {
    if model.graph.is_none() {
        return Err(Unsound::NoGraph);
    }
    Ok(())
}
