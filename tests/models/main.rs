//! Real models and data: both engines on real graphs, and accuracies that were measured elsewhere reproduced. The folder
//! of models and data is that of `published`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![expect(clippy::disallowed_methods, reason = "tests are told by the environment where things lie")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests tell what was measured and what was skipped")]

mod baselines;
#[path = "../published/cifar.rs"]
mod cifar;
mod engines;
#[path = "../published/mod.rs"]
mod published;

use secateur::onnx::model::Model;
use secateur::spec::attempt::ModelLimits;

fn model(folder: &std::path::Path, name: &str) -> Model {
    Model::load(&folder.join(name), &ModelLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}
