//! Real models and data: both engines on real graphs, and accuracies that were measured elsewhere reproduced. The folder
//! of models and data is `SECATEUR_DATA`, or `../shared/data` beside the checkout.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![expect(clippy::disallowed_methods, reason = "tests are told by the environment where things lie")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests tell what was measured and what was skipped")]

mod baselines;
mod engines;

use std::path::PathBuf;

use secateur::onnx::model::Model;
use secateur::spec::attempt::ModelLimits;

/// The folder of models and data; says so where it is absent.
fn data_folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SECATEUR_DATA").map_or_else(beside, PathBuf::from);
    if folder.join("index.json").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: there is no folder of models and data at {} (set SECATEUR_DATA)", folder.display());
    None
}

fn model(folder: &std::path::Path, name: &str) -> Model {
    Model::load(&folder.join(name), &ModelLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}
