//! What can be wrong with a dataset.

use std::io;

use crate::spec::failure::{Failure, FailureCode};

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("the dataset's file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file as a whole.
    #[error("the file is not a dataset: {reason}")]
    NotADataset { reason: String },
    /// One entry of the archive.
    #[error("`{entry}` in the archive {reason}")]
    Entry { entry: String, reason: String },
    /// A limit that the server sets was reached while the archive was unpacked.
    #[error("`{entry}` in the archive {reason}; the server's limit is {limit}")]
    Limit { entry: String, reason: String, limit: u64 },
    #[error("the label of sample {sample} is {value}; labels are numbers of classes, from 0")]
    Label { sample: usize, value: i64 },
    #[error("the field `{field}` of `preprocess` {reason}")]
    Preprocess { field: &'static str, reason: String },
    /// The dataset is sound, but not what the model takes.
    #[error("{reason}")]
    Mismatch { reason: String },
    #[error("sample {index} was asked for, but the dataset has {samples}")]
    NoSuchSample { index: usize, samples: usize },
}

impl DataError {
    /// Something about one entry.
    pub(super) fn entry(entry: &str, reason: impl Into<String>) -> Self {
        Self::Entry { entry: entry.to_owned(), reason: reason.into() }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let message = error.to_string();
        match error {
            DataError::Io(source) if source.kind() == io::ErrorKind::StorageFull => {
                Self::new(FailureCode::StorageFull, "no room is left for the unpacked dataset")
            }
            DataError::Io(source) if source.kind() == io::ErrorKind::OutOfMemory => {
                Self::new(FailureCode::OutOfMemory, message)
            }
            DataError::Io(_) | DataError::NoSuchSample { .. } => Self::new(FailureCode::Internal, message),
            DataError::Entry { entry, .. } | DataError::Limit { entry, .. } => {
                Self::new(FailureCode::InvalidDataset, message).at(entry)
            }
            DataError::NotADataset { .. } | DataError::Label { .. } => Self::new(FailureCode::InvalidDataset, message),
            DataError::Preprocess { field, .. } => {
                Self::new(FailureCode::InvalidSpec, message).at(format!("/preprocess/{field}"))
            }
            DataError::Mismatch { .. } => Self::new(FailureCode::DatasetMismatch, message),
        }
    }
}
