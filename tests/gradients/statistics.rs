//! The mismatch of a batch with the statistics that normalisations keep, and its gradient at the inputs.

use secateur::autodiff::statistics::{StatisticsError, statistics_graph};
use secateur::engine::{Engine as _, SessionOptions, onnx_runtime};
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::raise::{TRAINING_OPSET, raise};
use secateur::onnx::tensor::Tensor;

fn numbers(count: usize, seed: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * 0.618_033_988_7 + seed).sin() * 43_758.545_3).fract() as f32).collect()
}

/// Two convolutions with normalisations, of which the second sees what the first gives; and one output behind them.
fn net(normalised: bool) -> Model {
    let mut b = GraphBuilder::new("net");
    let mut x = b.input("x", DataType::Float, &["n".into(), 2.into(), 4.into(), 4.into()]);
    for (at, channels) in [2, 3].into_iter().enumerate() {
        let w = b.constant(&Tensor::from_f32(&[3, channels, 3, 3], &numbers(27 * channels, 0.3 + at as f64)));
        x = b.node("Conv", &[&x, &w], &[("pads", Attribute::Ints(vec![1; 4]))]);
        if normalised {
            let constants =
                [1.5, 0.2, 0.1, 2.0].map(|value| b.constant(&Tensor::from_f32(&[3], &[value, value, 0.9 * value])));
            let [gamma, beta, mean, variance] = &constants;
            x = b.node("BatchNormalization", &[&x, gamma, beta, mean, variance], &[]);
        }
        x = b.node("Sigmoid", &[&x], &[]);
    }
    b.output(&x, DataType::Float, &["n".into(), 3.into(), 4.into(), 4.into()]);
    raise(&b.build(17), TRAINING_OPSET).unwrap().model
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let shapes = [("x".to_owned(), vec![2, 2, 4, 4])].into();
    let graph = statistics_graph(&net(true), &shapes, &["x".into()]).unwrap();
    assert_eq!((graph.layers, graph.inputs.as_slice()), (2, &["x".to_owned()][..]));
    let mut session = onnx_runtime().unwrap().load(&graph.model, &SessionOptions::with_threads(1)).unwrap();
    let mut run = |values: &[f32]| {
        let outputs = session.run(&[("x", &Tensor::from_f32(&[2, 2, 4, 4], values))]).unwrap();
        (f64::from(outputs[0].to_f32().unwrap()[0]), outputs[1].to_f32().unwrap().into_owned())
    };
    let values = numbers(64, 0.5);
    let (mismatch, gradient) = run(&values);
    assert!(mismatch > 0.05, "{mismatch}");
    for at in [0, 7, 21, 38, 63] {
        let moved = |by: f32| values.iter().enumerate().map(move |(i, v)| if i == at { v + by } else { *v });
        let [ahead, behind] = [0.02, -0.02].map(|by| run(&moved(by).collect::<Vec<_>>()).0);
        let expected = (ahead - behind) / 0.04;
        let found = f64::from(gradient[at]);
        assert!((found - expected).abs() < 0.02 * expected.abs() + 2e-4, "{at}: {found} {expected}");
    }
}

#[test]
fn a_model_that_keeps_no_statistics_has_no_mismatch() {
    let shapes = [("x".to_owned(), vec![2, 2, 4, 4])].into();
    assert_eq!(statistics_graph(&net(false), &shapes, &["x".into()]).unwrap_err(), StatisticsError::None);
}
