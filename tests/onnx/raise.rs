//! Raised copies compute what their originals compute, on every real model.

use std::collections::BTreeMap;

use secateur::engine::{Engine as _, SessionOptions, onnx_runtime};
use secateur::onnx::model::Model;
use secateur::onnx::raise::{TRAINING_OPSET, raise};
use secateur::onnx::tensor::Tensor;

use crate::{corpus, published};

fn run(model: &Model, feeds: &[(String, Tensor)]) -> Vec<Tensor> {
    let mut session = onnx_runtime().unwrap().load(model, &SessionOptions::default()).unwrap();
    let lent: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run(&lent).unwrap()
}

/// Largest difference over the largest magnitude of two outputs; both may be integers.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!((&a.shape, a.dtype), (&b.shape, b.dtype));
    let (Ok(a), Ok(b)) = (a.to_f32(), b.to_f32()) else {
        return if a.data == b.data { 0.0 } else { f32::INFINITY };
    };
    let scale = a.iter().fold(1e-6_f32, |scale, x| scale.max(x.abs()));
    a.iter().zip(b.iter()).fold(0.0, |worst, (x, y)| (x - y).abs().max(worst)) / scale
}

#[test]
fn a_raised_model_computes_the_same() {
    let mut older = 0;
    for path in corpus::files() {
        let model = corpus::load(&path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let raised = match raise(&model, TRAINING_OPSET) {
            Ok(raised) => raised,
            Err(error) => panic!("{name}: {error}"),
        };
        older += usize::from(model.opset("").unwrap() < TRAINING_OPSET);
        assert!(raised.model.opset("").unwrap() >= TRAINING_OPSET);
        let feeds = corpus::feeds(&model, &BTreeMap::from([("batch", 3), ("sequence", 512)]));
        let names = |model: &Model| -> Vec<String> {
            model.graph_proto().initializer.iter().map(|tensor| tensor.name().to_owned()).collect()
        };
        assert_eq!(names(&model), names(&raised.model), "{name}: initializers keep their names");
        for (output, (a, b)) in run(&model, &feeds).iter().zip(&run(&raised.model, &feeds)).enumerate() {
            let difference = difference(a, b);
            // Other kernels may be chosen, which sum in another order.
            assert!(difference < 1e-5, "{name}: output {output} differs by {difference}");
        }
    }
    assert!(older > 20 || published::folder().is_none(), "only {older} models were raised");
}
