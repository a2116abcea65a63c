//! Recovery of a published network on real images.

use super::*;
use crate::data::Dataset;
use crate::prune::prune;
use crate::prune::real_models::{cifar, published};
use crate::spec::attempt::{DatasetLimits, ModelLimits};
use crate::spec::preprocess::Preprocess;
use crate::spec::prune::{Criterion, PruneRequest, Target};

/// Half of the multiply-accumulates of ResNet-56 go, from where it costs least; accuracy on images that nothing was fitted to.
#[test]
fn resnet56_at_half_of_its_macs_names_five_images_of_six_rightly_without_a_label() {
    let Some(data) = published::folder() else { return };
    let path = data.join("cifar_resnet/cifar10_resnet56_adapted.onnx");
    let model = Model::load(&path, &ModelLimits::default()).unwrap();
    let preprocess: Preprocess = cifar::preprocess();
    let open = |name: &str| Dataset::open(&data.join("data").join(name), Some(&preprocess), &DatasetLimits::default());
    let (training, test) = (open("cifar10-train20k.zip").unwrap(), open("cifar10_jpeg_test5k.npz").unwrap());
    let request = PruneRequest {
        criterion: Some(Criterion::Obs),
        target: Some(Target::MacsKept(0.5)),
        round_to: Some(1.into()),
        recovery: Some(vec![Rung::LeastSquares]),
        ..PruneRequest::default()
    };
    let spec = request.parse().unwrap();
    let calibration = Calibration::new(&training, &model, spec.calibration_samples as usize, spec.seed).unwrap();
    let pruned = prune(&model, &spec, Some(&calibration), 1, &|_| {}).unwrap();
    let report = &pruned.report;
    let test = Calibration::new(&test, &model, 2_000, 1).unwrap();
    let drift = drift::measure(&model, &pruned.model, test.fitting(), 1).unwrap();
    let rung = &report.recovery[0];
    eprintln!(
        "accuracy {:?} of {:?}, on the samples {:?} after {:?}; {} layers, {:?} skipped, {} ms",
        drift.accuracy,
        drift.original_accuracy,
        rung.after,
        rung.before,
        rung.layers.len(),
        rung.skipped,
        rung.duration_ms
    );
    assert!(report.size_after.macs.unwrap() * 2 <= report.size_before.macs.unwrap());
    assert!(report.certificate.as_ref().unwrap().kind == "masked_equivalence");
    assert!(report.recovered_certificate.as_ref().unwrap().kind == "verified");
    assert!(drift.accuracy.unwrap() >= 0.85, "{drift:?}");
}
