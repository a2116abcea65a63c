//! Published and exported models, pruned with their certificates.

#[path = "../../tests/published/cifar.rs"]
pub mod cifar;
#[expect(clippy::disallowed_methods, reason = "tests are told where the data lies")]
#[path = "../../tests/published/mod.rs"]
pub mod published;

use std::path::{Path, PathBuf};

use super::*;
use crate::spec::analyze::AnalyzeSpec;
use crate::spec::attempt::ModelLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{PruneRequest, Scope, Target};

fn load(path: &Path) -> Model {
    Model::load(path, &ModelLimits::default()).unwrap()
}

fn spec(target: Target) -> PruneSpec {
    PruneRequest { target: Some(target), ..PruneRequest::default() }.parse().unwrap()
}

fn onnx_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    files.sort();
    files
}

#[test]
fn published_resnets_with_option_a_shortcuts_are_cut_to_half_of_their_macs() {
    let Some(data) = published::folder() else { return };
    for file in onnx_files(&data.join("cifar_resnet")) {
        let model = load(&file);
        let start = std::time::Instant::now();
        let pruned = prune(&model, &spec(Target::MacsKept(0.5)), None, 1, &|_| {})
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let report = &pruned.report;
        let certificate = report.certificate.as_ref().unwrap();
        let kept = report.size_after.macs.unwrap() as f64 / report.size_before.macs.unwrap() as f64;
        eprintln!(
            "{}: MACs {kept:.3}, parameters {:.3}, coverage {:.3}, {} groups, {:?}, errors {:?}",
            file.file_name().unwrap().display(),
            report.size_after.parameters as f64 / report.size_before.parameters as f64,
            report.coverage_parameters,
            report.groups.len(),
            start.elapsed(),
            certificate
                .checks
                .iter()
                .map(|check| (check.engine.as_str(), check.error, check.declined.as_deref()))
                .collect::<Vec<_>>(),
        );
        assert!(kept <= 0.5 && kept > 0.4, "{}: {kept}", file.display());
        assert!(certificate.passed && !certificate.vacuous_on_own_weights);
        for engine in ["onnxruntime", "tract"] {
            assert!(certificate.checks.iter().any(|check| check.engine == engine && check.error.is_some()), "{engine}");
        }
        assert!(report.frozen.iter().all(|frozen| frozen.reason.contains("graph ")), "{:?}", report.frozen);
    }
}

/// At most this share of the parameters is left of each model of the zoo when half of the channels of every group go; a
/// quarter is what a plain chain of layers leaves.
const ZOO: [(&str, f64); 18] = [
    ("encoder_torch__dyn", 0.27),
    ("encoder_torch__ts", 0.30),
    ("googlenet__bn", 0.26),
    ("lenet5__dyn", 0.26),
    ("lenet5__ts", 0.26),
    ("lstm_cls__ts", 0.29),
    ("mobilenet_v2__bn", 0.29),
    ("multihead__bn", 0.28),
    ("multihead__dyn", 0.28),
    ("multihead__ts", 0.28),
    ("repvgg__bn", 0.28),
    ("repvgg__dyn", 0.27),
    ("repvgg__ts", 0.27),
    ("resnet18__ts", 0.26),
    ("shufflenet_v2_x0_5__ts", 0.30),
    ("unet__bn", 0.26),
    ("vgg11_bn__bn", 0.26),
    ("yolo_like__ts", 0.26),
];

/// The file of others that cannot lose anything: one convolution between input and output.
const REFUSED: [&str; 1] = ["onnxruntime__fuse-conv-bn-mul-add-unsqueeze"];

/// Cut with the same share gone from every group and widths as they come; the share of the parameters that is left.
fn left_of(file: &Path, share: f64) -> Result<f64, Failure> {
    let request = PruneRequest {
        target: Some(Target::ChannelsRemoved(share)),
        scope: Scope::Local,
        round_to: Some(1.into()),
        ..PruneRequest::default()
    };
    let pruned = prune(&load(file), &request.parse().unwrap(), None, 1, &|_| {})?;
    assert!(pruned.report.certificate.is_some_and(|certificate| certificate.passed));
    Ok(pruned.report.size_after.parameters as f64 / pruned.report.size_before.parameters as f64)
}

#[test]
fn every_model_of_the_zoo_is_cut_with_a_certificate_to_its_bound() {
    let Some(data) = published::folder() else { return };
    for (name, bound) in ZOO {
        let left = left_of(&data.join("zoo").join(format!("{name}.onnx")), 0.5);
        let left = left.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert!(left <= bound, "{name}: {left:.3} of the parameters are left, more than {bound}");
    }
    assert_eq!(onnx_files(&data.join("zoo")).len(), ZOO.len(), "a model without a bound");
}

#[test]
fn models_of_others_are_cut_with_a_certificate_or_refused_with_a_reason() {
    let Some(data) = published::folder() else { return };
    let mut refused = Vec::new();
    for file in onnx_files(&data.join("real")) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        match left_of(&file, 0.3) {
            Ok(left) => assert!(left <= 0.85, "{name}: {left:.3} of the parameters are left"),
            Err(failure) => {
                assert_eq!(failure.code, FailureCode::TargetUnreachable, "{name}: {failure}");
                refused.push(name);
            }
        }
    }
    assert_eq!(refused, REFUSED);
}

#[test]
fn an_analysis_of_every_model_adds_up_and_gives_a_reason_for_all_that_stays() {
    let Some(data) = published::folder() else { return };
    for folder in ["zoo", "real", "cifar_resnet"] {
        for file in onnx_files(&data.join(folder)) {
            let (model, start) = (load(&file), std::time::Instant::now());
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let Analysis { report, findings } =
                analyze(&model, &AnalyzeSpec::default(), None, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
            let (free, frozen): (Vec<_>, Vec<_>) = report.groups.iter().partition(|group| group.prunable);
            eprintln!(
                "{name}: coverage {:.3} and {:?}, {} and {} groups, {} low, {} dead, {} alike, {:?}\n  {findings:?}",
                report.coverage.parameters,
                report.coverage.macs,
                free.len(),
                frozen.len(),
                report.low_contribution.len(),
                report.dead_channels.len(),
                report.duplicate_channels.len(),
                start.elapsed(),
            );
            if let Some(macs) = report.size.macs {
                assert_eq!(report.layers.iter().filter_map(|layer| layer.macs).sum::<u64>(), macs, "{name}");
                assert!(report.groups.iter().all(|group| group.macs.is_some_and(|of| of <= macs)), "{name}");
            }
            assert!(report.groups.iter().all(|group| group.parameters <= report.size.parameters), "{name}");
            assert!(frozen.iter().all(|group| group.frozen_by.is_some() && !group.members.is_empty()), "{name}");
            assert!(!free.is_empty() || REFUSED.contains(&name.as_str()), "{name}");
            assert_eq!(free.is_empty(), report.coverage.parameters == 0.0, "{name}");
        }
    }
}
