//! Evaluation of a CIFAR ResNet-20 on 5,000 decoded images, in images/s: session and dataset opened, every image scored.
//! `benches/evaluate.py` does the same in Python. Arguments: rounds, threads, batch size.

#[path = "../tests/published/cifar.rs"]
mod cifar;

use std::path::PathBuf;
use std::time::Instant;

use secateur::data::Dataset;
use secateur::engine::{Engine as _, onnx_runtime};
use secateur::evaluate::Evaluation;
use secateur::onnx::model::Model;
use secateur::spec::attempt::{DatasetLimits, ModelLimits};
use secateur::spec::evaluate::EvaluateSpec;
use secateur::spec::observer::Unobserved;
use secateur::spec::preprocess::Preprocess;

#[expect(clippy::print_stdout, reason = "figures for people")]
#[expect(clippy::disallowed_methods, reason = "benchmarks are told by the environment where the data lie")]
fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (rounds, threads) = (numbers.next().unwrap_or(3), numbers.next().unwrap_or(2));
    let batch_size = u32::try_from(numbers.next().unwrap_or(64))?;
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SECATEUR_DATA").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: there is no folder of models and data at {} (set SECATEUR_DATA)", folder.display());
        return Ok(());
    }
    let engine = onnx_runtime()?;
    let preprocess: Preprocess = cifar::preprocess();
    let spec = EvaluateSpec { latency: None, batch_size, ..EvaluateSpec::default() };
    for data in ["data/cifar10_jpeg_test5k.npz", "data/cifar10-test5k.zip"] {
        for _ in 0..rounds {
            let start = Instant::now();
            let model = Model::load(&folder.join("cifar_resnet/cifar10_resnet20.onnx"), &ModelLimits::default())?;
            let dataset = Dataset::open(&folder.join(data), Some(&preprocess), &DatasetLimits::default())?;
            let evaluation =
                Evaluation { engine, candidate: &model, baseline: None, dataset: Some(&dataset), spec: &spec, threads };
            let evaluated = evaluation.run(&Unobserved, &|_| {})?;
            let seconds = start.elapsed().as_secs_f64();
            let accuracy = evaluated.report.candidate.quality.map_or(0.0, |quality| quality.accuracy);
            println!(
                "{data}: {:.0} images/s, {threads} threads, batch {batch_size}, accuracy {accuracy:.4}, {} {}",
                dataset.len() as f64 / seconds,
                engine.name(),
                engine.version().unwrap_or_default()
            );
        }
    }
    Ok(())
}
