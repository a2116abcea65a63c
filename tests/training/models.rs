//! Training graphs of real networks: they load, and steps on one batch make its loss smaller.

use std::collections::BTreeMap;

use secateur::autodiff::training::{TrainingGraph, training_graph};
use secateur::engine::onnx_runtime;
use secateur::onnx::batch::free;
use secateur::onnx::model::Model;
use secateur::onnx::raise::{TRAINING_OPSET, raise};
use secateur::onnx::shape::infer;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;
use secateur::train::Sgd;
use secateur::train::state::State;
use secateur::train::step::TrainingStep;

use crate::{noise, published};

const BATCH: usize = 8;

/// Folder, file, learning rate, and the parameters that cannot be trained.
const CLASSIFIERS: [(&str, &str, f64, &[&str]); 14] = [
    ("cifar_resnet", "cifar10_resnet20", 1e-4, &[]),
    ("cifar_resnet", "cifar10_resnet20_bn", 1e-3, &[]),
    ("cifar_resnet", "cifar10_resnet20_dynamo", 1e-4, &[]),
    ("zoo", "lenet5__ts", 1e-2, &[]),
    ("zoo", "lenet5__dyn", 1e-2, &[]),
    ("zoo", "mobilenet_v2__bn", 1e-4, &[]),
    ("zoo", "vgg11_bn__bn", 1e-3, &[]),
    ("zoo", "googlenet__bn", 1e-3, &[]),
    ("zoo", "resnet18__ts", 1e-4, &[]),
    ("zoo", "shufflenet_v2_x0_5__ts", 1e-4, &[]),
    ("zoo", "repvgg__bn", 1e-3, &[]),
    ("zoo", "repvgg__dyn", 1e-4, &[]),
    // The loss sees the first of its heads.
    ("zoo", "multihead__bn", 1e-3, &["b.weight", "b.bias", "d.weight", "d.bias"]),
    ("real", "Windows-Machine-Learning__ImageClassifier", 1e-3, &[]),
];

fn load(folder: &str, name: &str) -> Option<Model> {
    let file = published::folder()?.join(folder).join(format!("{name}.onnx"));
    let model = free(&Model::load(&file, &ModelLimits::default()).unwrap()).unwrap().model;
    Some(raise(&model, TRAINING_OPSET).unwrap().model)
}

fn graph_of(model: &Model) -> (TrainingGraph, String, Vec<usize>) {
    let input = model.graph().fed_inputs().next().unwrap().name().to_owned();
    let dims = infer(model).dims(&input).unwrap().to_vec();
    let shape: Vec<i64> =
        (0..dims.len()).map(|axis| if axis == 0 { BATCH as i64 } else { dims[axis].as_known().unwrap() }).collect();
    let graph = training_graph(model, &BTreeMap::from([(input.clone(), shape.clone())]), BATCH, None).unwrap();
    (graph, input, shape.into_iter().map(|size| size as usize).collect())
}

#[test]
fn steps_on_one_batch_make_its_loss_smaller() {
    let mut wrong = Vec::new();
    for (folder, name, rate, untrained) in CLASSIFIERS {
        let Some(model) = load(folder, name) else { continue };
        let (graph, input, shape) = graph_of(&model);
        let frozen: Vec<&str> = graph.frozen.iter().map(|frozen| frozen.what.as_str()).collect();
        assert_eq!(frozen, untrained, "{name}: {:?}", graph.frozen);
        let plain = Sgd { momentum: 0.0, weight_decay: 0.0, nesterov: false };
        let mut step = TrainingStep::new(onnx_runtime().unwrap(), &graph, plain, 0.0, 1).unwrap();
        let mut state = State::new(step.layout().read(&model));
        let inputs = [(input, noise(3, &shape, 1.7))];
        let labels: Vec<i64> = (0..BATCH as i64).map(|i| i % graph.classes as i64).collect();
        let losses: Vec<f64> = (0..4).map(|_| step.run(&mut state, &inputs, &labels, rate).unwrap().loss).collect();
        if !losses.windows(2).all(|pair| pair[1] < pair[0]) {
            wrong.push(format!("{name}: {losses:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_an_encoder_cannot_train_is_named() {
    let Some(model) = load("zoo", "encoder_torch__dyn") else { return };
    let (graph, input, shape) = graph_of(&model);
    // Its layer normalisations have no rule yet: what lies before the last of them is frozen.
    assert!(!graph.weights.is_empty());
    assert!(
        graph
            .frozen
            .iter()
            .any(|frozen| frozen.operator.as_deref().is_some_and(|o| o.starts_with("LayerNormalization")))
    );
    assert!(graph.frozen.iter().all(|frozen| !frozen.reason.is_empty()));
    let plain = Sgd { momentum: 0.0, weight_decay: 0.0, nesterov: false };
    let mut step = TrainingStep::new(onnx_runtime().unwrap(), &graph, plain, 0.0, 1).unwrap();
    let mut state = State::new(step.layout().read(&model));
    let tokens: Vec<i64> = (0..shape.iter().product::<usize>() as i64).map(|i| i % 7).collect();
    let inputs = [(input, Tensor::from_i64(&shape, &tokens))];
    let labels: Vec<i64> = (0..BATCH as i64).map(|i| i % graph.classes as i64).collect();
    let losses: Vec<f64> = (0..3).map(|_| step.run(&mut state, &inputs, &labels, 1e-2).unwrap().loss).collect();
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
}
