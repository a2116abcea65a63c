//! Accuracies of published models that were measured with other software, from `index.json`.

use std::path::Path;

use secateur::data::Dataset;
use secateur::engine::onnx_runtime;
use secateur::evaluate::Evaluation;
use secateur::spec::attempt::DatasetLimits;
use secateur::spec::evaluate::EvaluateSpec;
use secateur::spec::observer::Unobserved;
use secateur::spec::preprocess::Preprocess;
use secateur::spec::report::Measured;

use crate::{cifar, published};

/// The networks of `cifar_resnet/` with their accuracy on the decoded test images.
const RESNETS: [(&str, f64); 6] = [
    ("cifar_resnet/cifar10_resnet20.onnx", 0.8098),
    ("cifar_resnet/cifar10_resnet20_bn.onnx", 0.8098),
    ("cifar_resnet/cifar10_resnet20_dynamo.onnx", 0.8098),
    ("cifar_resnet/cifar10_resnet56.onnx", 0.8280),
    ("cifar_resnet/cifar10_resnet56_adapted.onnx", 0.8866),
    ("cifar_resnet/cifar10_resnet56_adapted_bn.onnx", 0.8866),
];
const SAMPLES: f64 = 5000.0;
/// Two samples: other sums of 32-bit floats decide otherwise where two classes are as good as equal.
const ON_PIXELS: f64 = 2.0 / SAMPLES;
/// Half a point: JPEG decoders differ by a few steps a pixel.
const ON_JPEGS: f64 = 0.005;

fn measured(folder: &Path, model: &str, dataset: &Dataset) -> Option<Measured> {
    let engine = match onnx_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let candidate = super::model(folder, model);
    let spec = EvaluateSpec { latency: None, ..EvaluateSpec::default() };
    let evaluation =
        Evaluation { engine, candidate: &candidate, baseline: None, dataset: Some(dataset), spec: &spec, threads: 2 };
    Some(evaluation.run(&Unobserved, &|_| {}).unwrap_or_else(|error| panic!("{model}: {error}")).report.candidate)
}

fn accuracies_are_near(dataset: &str, models: &[(&str, f64)], preprocess: &Preprocess, tolerance: f64) {
    let Some(folder) = published::folder() else { return };
    let dataset = Dataset::open(&folder.join(dataset), Some(preprocess), &DatasetLimits::default()).unwrap();
    for (model, expected) in models {
        let Some(measured) = measured(&folder, model, &dataset) else { return };
        let quality = measured.quality.unwrap();
        println!("{model}: {} (expected {expected}), loss {}", quality.accuracy, quality.loss);
        assert!(
            (quality.accuracy - expected).abs() <= tolerance + 1e-9,
            "{model}: {} is not {expected}",
            quality.accuracy
        );
    }
}

#[test]
fn published_resnets_are_as_good_as_they_were_measured_to_be_on_decoded_images() {
    accuracies_are_near("data/cifar10_jpeg_test5k.npz", &RESNETS, &cifar::preprocess::<Preprocess>(), ON_PIXELS);
}

/// One of each kind: exports of the same weights see the same pixels.
#[test]
fn published_resnets_are_as_good_within_half_a_point_on_jpeg_files() {
    let several = [RESNETS[0], RESNETS[4]];
    accuracies_are_near("data/cifar10-test5k.zip", &several, &cifar::preprocess::<Preprocess>(), ON_JPEGS);
}

/// The accuracies of these models were measured on the first 2,000 images; here all 5,000 are scored.
#[test]
fn small_models_of_others_are_about_as_good_as_they_were_on_a_part_of_the_images() {
    let mnist = "data/mnist_t10k_first5k.npz";
    let digits = Preprocess { mean: vec![0.1307], std: vec![0.3081], ..Preprocess::default() };
    accuracies_are_near(mnist, &[("real/onnxruntime__mnist.onnx", 0.9835)], &digits, 0.015);
    let raw = Preprocess { divide_by: 1.0, ..Preprocess::default() };
    accuracies_are_near(mnist, &[("real/Marabou__softmax-last-layer.onnx", 0.868)], &raw, 0.015);
    let cifar = "data/cifar10_jpeg_test5k.npz";
    let half = Preprocess { mean: vec![0.5], std: vec![0.5], ..Preprocess::default() };
    accuracies_are_near(cifar, &[("real/Windows-Machine-Learning__ImageClassifier.onnx", 0.639)], &half, 0.015);
    accuracies_are_near(
        cifar,
        &[("real/Marabou__cifar_base_kw_simp.onnx", 0.581)],
        &cifar::preprocess::<Preprocess>(),
        0.015,
    );
}
