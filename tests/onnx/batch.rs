//! Freed batches: a batch of three gives what three single runs give.

use std::collections::BTreeMap;

use secateur::engine::{Engine as _, SessionOptions, onnx_runtime};
use secateur::onnx::batch::{BatchError, free};
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;

use crate::{corpus, published};

/// Real models that depend on their fixed batch, and the reason.
const DEPENDENT: &[(&str, &str)] = &[("onnxruntime__fuse-conv-bn-mul-add-unsqueeze.onnx", "is not its first axis")];

fn run(model: &Model, feeds: &[(String, Tensor)]) -> Vec<Tensor> {
    let mut session = onnx_runtime().unwrap().load(model, &SessionOptions::default()).unwrap();
    let lent: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run(&lent).unwrap()
}

/// `count` stacks of what is along the first axis, the elements of each shifted so that they differ.
fn stacked(tensor: &Tensor, count: usize) -> (Tensor, Vec<Tensor>) {
    let numbers = tensor.to_f32().unwrap();
    let parts: Vec<Tensor> = (0..count)
        .map(|i| Tensor::from_f32(&tensor.shape, &numbers.iter().map(|x| x * (1.0 + i as f32)).collect::<Vec<_>>()))
        .collect();
    let mut shape = tensor.shape.clone();
    shape[0] *= count;
    let all: Vec<f32> = parts.iter().flat_map(|part| part.to_f32().unwrap().into_owned()).collect();
    (Tensor::from_f32(&shape, &all), parts)
}

#[test]
fn a_freed_batch_computes_each_sample_by_itself() {
    let mut freed_models = 0;
    for path in corpus::files() {
        let model = corpus::load(&path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let freed = match free(&model) {
            Ok(freed) if freed.notes.is_empty() => continue,
            Ok(freed) => freed,
            Err(error) => {
                let expected = DEPENDENT.iter().find(|(file, _)| *file == name);
                let named = expected.is_some_and(|(_, reason)| error.to_string().contains(reason));
                assert!(named, "{name}: {error}");
                continue;
            }
        };
        eprintln!("{name}: {:?}", freed.notes);
        let single = corpus::feeds(&model, &BTreeMap::new());
        let parts: Vec<(String, (Tensor, Vec<Tensor>))> =
            single.iter().map(|(name, tensor)| (name.clone(), stacked(tensor, 3))).collect();
        let whole: Vec<(String, Tensor)> = parts.iter().map(|(name, (all, _))| (name.clone(), all.clone())).collect();
        let together = run(&freed.model, &whole);
        for sample in 0..3 {
            let one: Vec<(String, Tensor)> =
                parts.iter().map(|(name, (_, parts))| (name.clone(), parts[sample].clone())).collect();
            for (all, alone) in together.iter().zip(run(&model, &one)) {
                assert_eq!(all.shape[1..], alone.shape[1..], "{name}");
                assert_eq!(all.shape[0], 3 * alone.shape[0], "{name}");
                let (all, alone) = (all.to_f32().unwrap(), alone.to_f32().unwrap());
                let scale = alone.iter().fold(1e-6_f32, |scale, x| scale.max(x.abs()));
                let part = &all[sample * alone.len()..(sample + 1) * alone.len()];
                let worst = part.iter().zip(alone.iter()).fold(0.0_f32, |worst, (x, y)| worst.max((x - y).abs()));
                assert!(worst / scale < 1e-5, "{name}: sample {sample} differs by {worst}");
            }
        }
        freed_models += 1;
    }
    assert!(freed_models >= 5 || published::folder().is_none(), "only {freed_models} batches were freed");
}

mod dependence {
    use secateur::onnx::attribute::Attribute;
    use secateur::onnx::builder::GraphBuilder;
    use secateur::onnx::dtype::DataType;

    use super::*;

    fn refused(operator: &str, make: impl Fn(&mut GraphBuilder, &str) -> String) {
        let mut b = GraphBuilder::new("dependent");
        let x = b.input("x", DataType::Float, &[2.into(), 2.into()]);
        let y = make(&mut b, &x);
        b.output(&y, DataType::Float, &[2.into(), 2.into()]);
        match free(&b.build(17)) {
            Err(BatchError::Depends { node, .. }) => assert!(node.starts_with(operator), "{node}"),
            other => panic!("{operator}: {other:?}"),
        }
    }

    #[test]
    fn what_mixes_samples_is_named() {
        refused("Softmax", |b, x| b.node("Softmax", &[x], &[("axis", Attribute::Int(0))]));
        refused("MatMul", |b, x| {
            let w = b.constant(&Tensor::from_f32(&[2, 2], &[1.0; 4]));
            b.node("MatMul", &[&w, x], &[])
        });
        refused("Add", |b, x| {
            let rows = b.constant(&Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]));
            b.node("Add", &[x, &rows], &[])
        });
        refused("Reshape", |b, x| {
            let turned = b.node("Transpose", &[x], &[]);
            let target = b.constant(&Tensor::from_i64(&[2], &[2, 2]));
            let same = b.node("Reshape", &[&turned, &target], &[]);
            let flat = b.constant(&Tensor::from_i64(&[2], &[1, 4]));
            b.node("Reshape", &[&same, &flat], &[])
        });
        refused("Mul", |b, x| {
            let shape = b.node("Shape", &[x], &[("end", Attribute::Int(1))]);
            let count = b.node("Cast", &[&shape], &[("to", Attribute::Int(1))]);
            b.node("Mul", &[x, &count], &[])
        });
    }
}
