//! Published and exported models, pruned with their certificates.

use std::path::{Path, PathBuf};

use super::*;
use crate::spec::attempt::ModelLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::PruneRequest;

/// The folder with real models, where it is at hand.
#[expect(clippy::disallowed_methods, reason = "tests are told where the data lies")]
fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SECATEUR_DATA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

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
    let Some(data) = data() else { return };
    for file in onnx_files(&data.join("cifar_resnet")) {
        let model = load(&file);
        let start = std::time::Instant::now();
        let pruned = prune(&model, &spec(Target::MacsKept(0.5)), 1, &|_| {})
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let report = &pruned.report;
        let kept = report.size_after.macs.unwrap() as f64 / report.size_before.macs.unwrap() as f64;
        eprintln!(
            "{}: MACs {kept:.3}, parameters {:.3}, coverage {:.3}, {} groups, {:?}, errors {:?}",
            file.file_name().unwrap().display(),
            report.size_after.parameters as f64 / report.size_before.parameters as f64,
            report.coverage_parameters,
            report.groups.len(),
            start.elapsed(),
            report
                .certificate
                .checks
                .iter()
                .map(|check| (check.engine.as_str(), check.error, check.declined.as_deref()))
                .collect::<Vec<_>>(),
        );
        assert!(kept <= 0.5 && kept > 0.4, "{}: {kept}", file.display());
        assert!(report.certificate.passed && !report.certificate.vacuous_on_own_weights);
        for engine in ["onnxruntime", "tract"] {
            assert!(
                report.certificate.checks.iter().any(|check| check.engine == engine && check.error.is_some()),
                "{engine}"
            );
        }
        assert!(report.frozen.iter().all(|frozen| frozen.reason.contains("graph ")), "{:?}", report.frozen);
    }
}

#[test]
fn every_model_of_the_zoo_is_cut_with_a_certificate_or_refused_with_a_reason() {
    let Some(data) = data() else { return };
    let mut wrong = Vec::new();
    for folder in ["zoo", "real"] {
        for file in onnx_files(&data.join(folder)) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let model = load(&file);
            match prune(&model, &spec(Target::ChannelsRemoved(0.4)), 1, &|_| {}) {
                Ok(pruned) => {
                    let report = &pruned.report;
                    let engines: Vec<_> = report
                        .certificate
                        .checks
                        .iter()
                        .filter(|check| check.error.is_some())
                        .map(|check| check.engine.as_str())
                        .collect();
                    let mut reasons: Vec<_> = report
                        .frozen
                        .iter()
                        .map(|frozen| format!("{}: {}", frozen.operator.as_deref().unwrap_or("-"), frozen.reason))
                        .collect();
                    reasons.sort();
                    reasons.dedup();
                    eprintln!(
                        "{name}: parameters kept {:.3}, coverage {:.3}, {} groups, ort {} tract {}{}",
                        report.size_after.parameters as f64 / report.size_before.parameters as f64,
                        report.coverage_parameters,
                        report.groups.len(),
                        engines.contains(&"onnxruntime"),
                        engines.contains(&"tract"),
                        if report.certificate.vacuous_on_own_weights { " (random weights)" } else { "" },
                    );
                    for reason in reasons.iter().take(6).chain(&report.notes) {
                        eprintln!("    {}", &reason[..reason.len().min(200)]);
                    }
                    for check in report.certificate.checks.iter().filter(|check| check.declined.is_some()) {
                        let reason = check.declined.as_deref().unwrap_or_default();
                        eprintln!("    {} declined: {}", check.engine, &reason[..reason.len().min(200)]);
                    }
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    eprintln!("{name}: refused: {failure}");
                    if !matches!(failure.code, FailureCode::TargetUnreachable | FailureCode::Unsupported) {
                        wrong.push(format!("{name}: {failure}"));
                    }
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
