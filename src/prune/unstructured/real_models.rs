//! Zeros in a published network: which criterion keeps how much, with and without recovery.

use crate::data::{Calibration, Dataset};
use crate::onnx::model::Model;
use crate::prune::real_models::{cifar, published};
use crate::prune::{drift, prune};
use crate::spec::attempt::{DatasetLimits, ModelLimits};
use crate::spec::preprocess::Preprocess;
use crate::spec::prune::{Criterion, Method, NOfM, PruneRequest, PruneSpec, Rung, Target};

/// ResNet-20 with images to calibrate on and images to test on.
struct World {
    model: Model,
    training: Dataset,
    test: Dataset,
}

impl World {
    fn new(file: &str) -> Option<Self> {
        let data = published::folder()?;
        let model = Model::load(&data.join("cifar_resnet").join(file), &ModelLimits::default()).unwrap();
        let preprocess: Preprocess = cifar::preprocess();
        let open =
            |name: &str| Dataset::open(&data.join("data").join(name), Some(&preprocess), &DatasetLimits::default());
        let (training, test) = (open("cifar10-train20k.zip").unwrap(), open("cifar10_jpeg_test5k.npz").unwrap());
        Some(Self { model, training, test })
    }

    /// Share of 2,000 test images that the pruned model names right.
    fn accuracy(&self, spec: &PruneSpec) -> f64 {
        let calibration =
            Calibration::new(&self.training, &self.model, spec.calibration_samples as usize, spec.seed).unwrap();
        let pruned = prune(&self.model, spec, Some(&calibration), 1, &|_| {}).unwrap();
        self.measured(&pruned.model, 2_000)
    }

    fn measured(&self, model: &Model, images: usize) -> f64 {
        let test = Calibration::new(&self.test, &self.model, images, 1).unwrap();
        drift::measure(&self.model, model, test.fitting(), 1).unwrap().accuracy.unwrap()
    }
}

/// As many channels go by gradients as by the norms of weights, without any repair.
#[test]
fn channels_chosen_by_gradients_keep_more_images_right_than_those_chosen_by_norm() {
    let Some(world) = World::new("cifar10_resnet20_bn.onnx") else { return };
    let accuracy = |criterion| {
        let request = PruneRequest {
            criterion: Some(criterion),
            target: Some(Target::ChannelsRemoved(0.2)),
            round_to: Some(1.into()),
            recovery: Some(Vec::new()),
            ..PruneRequest::default()
        };
        world.accuracy(&request.parse().unwrap())
    };
    let [norm, taylor, fisher] = [Criterion::L2, Criterion::Taylor, Criterion::Fisher].map(accuracy);
    eprintln!("a fifth of the channels gone: l2 {norm:.4}, taylor {taylor:.4}, fisher {fisher:.4}");
    assert!(taylor > norm && fisher > norm, "l2 {norm}, taylor {taylor}, fisher {fisher}");
}

/// The table of `docs/benchmarks.md`.
#[test]
#[ignore = "takes minutes; prints a table"]
fn zeros_by_criterion_and_repair() {
    let Some(world) = World::new("cifar10_resnet20.onnx") else { return };
    println!("original: {:.2} %", 100.0 * world.measured(&world.model, 2_000));
    let pattern = NOfM::try_from("2:4".to_owned()).unwrap();
    let targets = [Target::Sparsity(0.5), Target::Sparsity(0.7), Target::Sparsity(0.9), Target::NOfM(pattern)];
    println!("| criterion | recovery | 50 % | 70 % | 90 % | 2:4 |\n| --- | --- | ---: | ---: | ---: | ---: |");
    for criterion in [Criterion::L1, Criterion::Wanda, Criterion::Taylor] {
        for recovery in [Vec::new(), vec![Rung::LeastSquares]] {
            let name = recovery.first().map_or("none", |rung: &Rung| rung.as_str());
            print!("| `{}` | {name} |", criterion.as_str());
            for target in targets {
                let request = PruneRequest {
                    method: Method::Unstructured,
                    criterion: Some(criterion),
                    target: Some(target),
                    recovery: Some(recovery.clone()),
                    ..PruneRequest::default()
                };
                print!(" {:.2} % |", 100.0 * world.accuracy(&request.parse().unwrap()));
            }
            println!();
        }
    }
}
