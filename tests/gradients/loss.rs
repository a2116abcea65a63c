//! The loss itself, from logits and from probabilities.

use std::collections::BTreeMap;

use secateur::autodiff::loss::LossError;
use secateur::autodiff::training::{TrainingGraph, training_graph};
use secateur::engine::{Engine, SessionOptions, onnx_runtime};
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;

/// A dense layer from 2 features to 3 classes with `end` behind it.
fn classifier(end: &[&str]) -> Model {
    let mut b = GraphBuilder::new("classifier");
    let x = b.input("x", DataType::Float, &["n".into(), 2.into()]);
    let w = b.initializer("w", &Tensor::from_f32(&[3, 2], &[0.5, -1.0, 0.25, 2.0, -0.75, 0.0]));
    let bias = b.initializer("b", &Tensor::from_f32(&[3], &[0.1, 0.2, -0.3]));
    let mut y = b.node("Gemm", &[&x, &w, &bias], &[("transB", Attribute::Int(1))]);
    for operator in end {
        y = b.node(operator, &[&y], &[]);
    }
    b.output(&y, DataType::Float, &["n".into(), 3.into()]);
    b.build(18)
}

fn graph(model: &Model) -> Result<TrainingGraph, LossError> {
    training_graph(model, &BTreeMap::from([("x".to_owned(), vec![2, 2])]), 2, None)
}

fn step(graph: &TrainingGraph, weights: &[f32], bias: &[f32]) -> (f64, Vec<f32>, Vec<f32>) {
    let x = Tensor::from_f32(&[2, 2], &[1.0, 2.0, -0.5, 0.75]);
    let targets = Tensor::from_f32(&[2, 3], &[0.0, 1.0, 0.0, 0.8, 0.1, 0.1]);
    let (w, b) = (Tensor::from_f32(&[3, 2], weights), Tensor::from_f32(&[3], bias));
    let mut session = onnx_runtime().unwrap().load(&graph.model, &SessionOptions::default()).unwrap();
    let outputs = session.run(&[("x", &x), (&graph.targets, &targets), ("w", &w), ("b", &b)]).unwrap();
    let floats = |i: usize| outputs[i].to_f32().unwrap().to_vec();
    (f64::from(floats(0)[0]), floats(2), floats(3))
}

const WEIGHTS: [f32; 6] = [0.5, -1.0, 0.25, 2.0, -0.75, 0.0];
const BIAS: [f32; 3] = [0.1, 0.2, -0.3];

#[test]
fn cross_entropy_is_what_it_is_by_hand() {
    let graph = graph(&classifier(&[])).unwrap();
    let names: Vec<&str> = graph.weights.iter().map(|weight| weight.name.as_str()).collect();
    assert_eq!(names, ["w", "b"]);
    assert_eq!(graph.weights.iter().map(|weight| weight.decays).collect::<Vec<_>>(), [true, false]);
    let (loss, dw, db) = step(&graph, &WEIGHTS, &BIAS);
    let (x, targets) = ([[1.0, 2.0], [-0.5, 0.75]], [[0.0, 1.0, 0.0], [0.8, 0.1, 0.1]]);
    let (mut expected, mut expected_dw, mut expected_db) = (0.0, [0.0; 6], [0.0; 3]);
    for n in 0..2 {
        let logits: Vec<f64> = (0..3)
            .map(|k| f64::from(WEIGHTS[2 * k]) * x[n][0] + f64::from(WEIGHTS[2 * k + 1]) * x[n][1] + f64::from(BIAS[k]))
            .collect();
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        for k in 0..3 {
            expected -= targets[n][k] * (logits[k] - sum.ln()) / 2.0;
            let excess = (logits[k].exp() / sum - targets[n][k]) / 2.0;
            expected_db[k] += excess;
            expected_dw[2 * k] += excess * x[n][0];
            expected_dw[2 * k + 1] += excess * x[n][1];
        }
    }
    assert!((loss - expected).abs() < 1e-6, "{loss} is not {expected}");
    for (found, expected) in dw.iter().chain(&db).zip(expected_dw.iter().chain(&expected_db)) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn probabilities_of_a_softmax_train_through_its_logits() {
    let plain = step(&graph(&classifier(&[])).unwrap(), &WEIGHTS, &BIAS);
    for end in [&["Softmax"][..], &["Softmax", "Identity"], &["LogSoftmax"]] {
        let (loss, dw, db) = step(&graph(&classifier(end)).unwrap(), &WEIGHTS, &BIAS);
        assert!((loss - plain.0).abs() < 1e-6, "{end:?}: {loss} is not {}", plain.0);
        for (found, expected) in dw.iter().chain(&db).zip(plain.1.iter().chain(&plain.2)) {
            assert!((found - expected).abs() < 1e-6, "{end:?}: {found} is not {expected}");
        }
    }
}

#[test]
fn logits_so_large_that_probabilities_round_to_0_still_have_a_gradient() {
    let (loss, _, db) = step(&graph(&classifier(&["Softmax"])).unwrap(), &WEIGHTS.map(|w| w * 1000.0), &BIAS);
    assert!(loss.is_finite() && loss > 100.0, "{loss}");
    assert!(db.iter().all(|g| g.is_finite()) && db.iter().any(|g| g.abs() > 0.1), "{db:?}");
}

#[test]
fn a_model_whose_output_is_not_scores_is_refused() {
    assert!(matches!(graph(&classifier(&["Sigmoid"])), Err(LossError::NotScores { .. })));
    assert!(matches!(graph(&classifier(&["Transpose"])), Err(LossError::Shape { .. })));
}
