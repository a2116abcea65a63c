//! Whole evaluations of models small enough to be worked by hand.

use std::cell::RefCell;
use std::path::PathBuf;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use super::{EvaluateError, Evaluated, Evaluation};
use crate::data::Dataset;
use crate::engine::tract;
use crate::onnx::builder::{GraphBuilder, Size};
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::spec::attempt::{AttemptMessage, DatasetLimits};
use crate::spec::evaluate::{EvaluateSpec, LatencySpec};
use crate::spec::observer::{Observer, Unobserved};

/// A dataset of rows of two numbers with their classes.
fn dataset(rows: &[[f32; 2]], labels: &[i64]) -> Dataset {
    let npy = |descr: &str, shape: &str, elements: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), elements].concat()
    };
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("x.npy", npy("<f4", &format!("({}, 2)", rows.len()), bytemuck::cast_slice(rows))),
        ("y.npy", npy("<i8", &format!("({},)", labels.len()), bytemuck::cast_slice(labels))),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, &bytes).unwrap();
    }
    let folder: TempDir = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("data.npz");
    std::fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
    // The file stays mapped when its folder is gone.
    Dataset::open(&path, None, &DatasetLimits::default()).unwrap()
}

/// Scores that are the inputs times `w`.
fn dense(batch: Size, w: [f32; 4]) -> Model {
    let mut b = GraphBuilder::new("dense");
    let x = b.input("x", DataType::Float, &[batch.clone(), 2.into()]);
    let w = b.initializer("w", &Tensor::from_f32(&[2, 2], &w));
    let y = b.node("MatMul", &[&x, &w], &[]);
    b.output(&y, DataType::Float, &[batch, 2.into()]);
    b.build(17)
}

const STRAIGHT: [f32; 4] = [1.0, 0.0, 0.0, 1.0];
const CROSSED: [f32; 4] = [0.0, 1.0, 1.0, 0.0];
const ROWS: [[f32; 2]; 5] = [[2.0, 1.0], [1.0, 2.0], [3.0, 0.0], [0.0, 3.0], [1.0, 1.0]];
const LABELS: [i64; 5] = [0, 1, 0, 0, 1];

fn quick() -> EvaluateSpec {
    EvaluateSpec { latency: None, batch_size: 2, ..EvaluateSpec::default() }
}

fn evaluated(
    candidate: &Model,
    baseline: Option<&Model>,
    dataset: Option<&Dataset>,
    spec: &EvaluateSpec,
) -> Result<Evaluated, EvaluateError> {
    Evaluation { engine: &tract(), candidate, baseline, dataset, spec, threads: 1 }.run(&Unobserved, &|_| {})
}

#[test]
fn candidate_and_baseline_are_scored_on_the_same_samples() {
    let data = dataset(&ROWS, &LABELS);
    let (straight, crossed) = (dense("n".into(), STRAIGHT), dense("n".into(), CROSSED));
    let report = evaluated(&crossed, Some(&straight), Some(&data), &quick()).unwrap().report;
    let (baseline, candidate) = (report.baseline.unwrap().quality.unwrap(), report.candidate.quality.unwrap());
    // Straight: 0 1 0 1 0, of which three are right. Crossed: 1 0 1 0 0 (a tie), of which one is right.
    assert_eq!((baseline.accuracy, candidate.accuracy), (0.6, 0.2));
    assert_eq!(baseline.confusion_matrix, [[2, 1], [1, 1]]);
    assert_eq!((baseline.agreement, candidate.agreement), (None, Some(0.2)));
    assert_eq!((candidate.k, candidate.top_k_accuracy, candidate.samples), (2, 1.0, 5));
}

#[test]
fn a_fixed_batch_is_filled_up_and_changes_no_figure() {
    let data = dataset(&ROWS, &LABELS);
    let free = evaluated(&dense("n".into(), STRAIGHT), None, Some(&data), &quick()).unwrap();
    for batch in [1_usize, 2, 3, 8] {
        let fixed = evaluated(&dense(batch.into(), STRAIGHT), None, Some(&data), &quick()).unwrap();
        assert_eq!(fixed.report.candidate.quality, free.report.candidate.quality, "batch {batch}");
    }
}

#[test]
fn sizes_are_those_of_the_file() {
    let model = dense("n".into(), [1.0, 0.0, 2.0, 3.0]);
    let Evaluated { report, findings } = evaluated(&model, None, None, &quick()).unwrap();
    let size = report.candidate.size;
    assert_eq!((size.bytes, size.parameters, size.nonzero_parameters), (model.to_bytes().len() as u64, 4, 3));
    assert_eq!(size.macs, Some(4));
    assert!(report.candidate.quality.is_none() && findings[0].contains("no dataset"), "{findings:?}");
}

#[test]
fn latency_is_measured_of_both_models_at_each_batch_size() {
    let latency = LatencySpec { threads: 1, batch_sizes: vec![1, 3], seconds: 0.01 };
    let spec = EvaluateSpec { latency: Some(latency), ..quick() };
    let (free, fixed) = (dense("n".into(), STRAIGHT), dense(2.into(), CROSSED));
    let data = dataset(&ROWS, &LABELS);
    for data in [None, Some(&data)] {
        let report = evaluated(&free, Some(&fixed), data, &spec).unwrap().report;
        let batches: Vec<u32> = report.candidate.latency.iter().map(|entry| entry.batch_size).collect();
        assert_eq!(batches, [1, 3]);
        let fixed: Vec<u32> = report.baseline.unwrap().latency.iter().map(|entry| entry.batch_size).collect();
        assert_eq!(fixed, [2], "a batch that is fixed is measured once");
        for entry in &report.candidate.latency {
            assert_eq!((entry.engine.as_str(), entry.threads), ("tract", 1));
            assert!(entry.runs >= 5 && entry.p50_ms > 0.0 && entry.throughput_per_second > 0.0, "{entry:?}");
            assert!(entry.p50_ms <= entry.p90_ms && entry.p90_ms <= entry.p99_ms, "{entry:?}");
        }
    }
}

#[test]
fn an_open_axis_without_a_dataset_is_a_finding() {
    let mut b = GraphBuilder::new("sequence");
    let x = b.input("x", DataType::Float, &["n".into(), "length".into()]);
    let y = b.node("Relu", &[&x], &[]);
    b.output(&y, DataType::Float, &["n".into(), "length".into()]);
    let Evaluated { report, findings } = evaluated(&b.build(17), None, None, &EvaluateSpec::default()).unwrap();
    assert!(report.candidate.latency.is_empty());
    assert!(findings.iter().any(|finding| finding.contains("`length`")), "{findings:?}");
}

#[test]
fn what_cannot_be_scored_is_told_with_its_place() {
    let data = dataset(&ROWS, &LABELS);
    let model = dense("n".into(), STRAIGHT);
    let named = EvaluateSpec { output: Some("logits".into()), ..quick() };
    assert!(matches!(evaluated(&model, None, Some(&data), &named), Err(EvaluateError::NoSuchOutput { .. })));
    let beyond = dataset(&ROWS, &[0, 1, 0, 2, 1]);
    let error = evaluated(&model, None, Some(&beyond), &quick()).unwrap_err();
    assert!(matches!(error, EvaluateError::LabelBeyondClasses { sample: 3, label: 2, classes: 2, .. }), "{error}");
    let broken = dense("n".into(), [f32::NAN, 0.0, 0.0, 1.0]);
    let error = evaluated(&broken, None, Some(&data), &quick()).unwrap_err();
    assert!(matches!(error, EvaluateError::NotFinite { sample: 0, .. }), "{error}");
}

#[test]
fn a_stop_ends_the_evaluation_and_progress_never_falls() {
    struct Stopping;
    impl Observer for Stopping {
        fn tell(&self, _: AttemptMessage) {}
        fn should_stop(&self) -> bool {
            true
        }
    }
    let data = dataset(&ROWS, &LABELS);
    let model = dense("n".into(), STRAIGHT);
    let latency = Some(LatencySpec { seconds: 0.01, ..LatencySpec::default() });
    let spec = EvaluateSpec { latency, ..quick() };
    let evaluation = Evaluation {
        engine: &tract(),
        candidate: &model,
        baseline: Some(&model),
        dataset: Some(&data),
        spec: &spec,
        threads: 1,
    };
    assert!(matches!(evaluation.run(&Stopping, &|_| {}), Err(EvaluateError::Interrupted)));
    let told = RefCell::new(vec![0.0]);
    evaluation.run(&Unobserved, &|share| told.borrow_mut().push(share)).unwrap();
    let told = told.into_inner();
    assert!(told.is_sorted() && told.last() == Some(&1.0), "{told:?}");
}
