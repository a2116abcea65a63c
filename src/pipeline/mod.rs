//! Job kinds as pure functions: a spec and inputs go in, an outcome comes out. Knows nothing of HTTP, SQL or buckets, so
//! that the attempt process, the command line and the tests all run it bare.

use std::path::{Path, PathBuf};

use crate::spec::attempt::{DatasetLimits, Finished, ModelLimits, RunTask};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::observer::Observer;
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::{DatasetSummary, ModelSummary};

/// Why a job returned before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was asked to stop and left a checkpoint.
    Interrupted,
    /// It cannot be done.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs a job in its scratch directory (laid out as [`crate::spec::attempt`] says) and leaves its files in `outputs/`.
///
/// Errors: [`Stop::Interrupted`] after `observer.should_stop()`, with a checkpoint announced; else the job's failure.
pub fn run(_task: &RunTask, _threads: u32, _scratch: &Path, _observer: &dyn Observer) -> Result<Finished, Stop> {
    Err(Failure::new(FailureCode::Internal, "the pipeline is being built").into())
}

/// Looks into an uploaded model.
pub fn inspect_model(_file: &Path, _limits: &ModelLimits) -> Result<ModelSummary, Failure> {
    Err(Failure::new(FailureCode::Internal, "the pipeline is being built"))
}

/// Looks into an uploaded dataset.
pub fn inspect_dataset(
    _file: &Path,
    _preprocess: Option<&Preprocess>,
    _limits: &DatasetLimits,
) -> Result<DatasetSummary, Failure> {
    Err(Failure::new(FailureCode::Internal, "the pipeline is being built"))
}

/// Where a path of the job file leads: relative paths start at the scratch directory.
pub fn locate(scratch: &Path, path: &Path) -> PathBuf {
    scratch.join(path)
}
