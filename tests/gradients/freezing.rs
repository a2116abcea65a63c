//! What has no gradient is frozen and named, and nothing wrong is trained.

use std::collections::BTreeMap;

use secateur::autodiff::training::{TrainingGraph, training_graph};
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::tensor::Tensor;

fn trained(graph: &TrainingGraph) -> Vec<&str> {
    graph.weights.iter().map(|weight| weight.name.as_str()).collect()
}

fn reason<'g>(graph: &'g TrainingGraph, what: &str) -> &'g str {
    graph.frozen.iter().find(|frozen| frozen.what == what).map_or("", |frozen| frozen.reason.as_str())
}

fn matrix(b: &mut GraphBuilder, name: &str) -> String {
    b.initializer(name, &Tensor::from_f32(&[2, 2], &[0.5, -0.5, 1.0, 0.25]))
}

fn build(make: impl Fn(&mut GraphBuilder, &str) -> String) -> TrainingGraph {
    let mut b = GraphBuilder::new("frozen");
    let x = b.input("x", DataType::Float, &["n".into(), 2.into()]);
    let y = make(&mut b, &x);
    b.output(&y, DataType::Float, &["n".into(), 2.into()]);
    training_graph(&b.build(18), &BTreeMap::from([("x".to_owned(), vec![4, 2])]), 4, None).unwrap()
}

#[test]
fn weights_behind_an_operator_without_a_rule_are_frozen_and_those_after_it_train() {
    let graph = build(|b, x| {
        let (first, last) = (matrix(b, "first"), matrix(b, "last"));
        let hidden = b.node("MatMul", &[x, &first], &[]);
        let rounded = b.node("Round", &[&hidden], &[]);
        b.node("MatMul", &[&rounded, &last], &[])
    });
    assert_eq!(trained(&graph), ["last"]);
    assert!(reason(&graph, "first").contains("Round"), "{:?}", graph.frozen);
}

#[test]
fn a_weight_with_one_blocked_path_of_two_is_frozen() {
    let graph = build(|b, x| {
        let (first, last) = (matrix(b, "first"), matrix(b, "last"));
        let hidden = b.node("MatMul", &[x, &first], &[]);
        let rounded = b.node("Round", &[&hidden], &[]);
        let both = b.node("Add", &[&rounded, &hidden], &[]);
        b.node("MatMul", &[&both, &last], &[])
    });
    assert_eq!(trained(&graph), ["last"]);
}

#[test]
fn input_normalisation_and_scalars_are_not_parameters_but_biases_are() {
    let graph = build(|b, x| {
        let w = matrix(b, "w");
        let mean = b.initializer("mean", &Tensor::from_f32(&[2], &[0.5, 0.5]));
        let centred = b.node("Add", &[x, &mean], &[]);
        let hidden = b.node("MatMul", &[&centred, &w], &[]);
        let bias = b.initializer("bias", &Tensor::from_f32(&[2], &[0.0, 0.1]));
        let hidden = b.node("Add", &[&hidden, &bias], &[]);
        let half = b.initializer("half", &Tensor::from_f32(&[], &[0.5]));
        b.node("Mul", &[&hidden, &half], &[])
    });
    assert_eq!(trained(&graph), ["w", "bias"]);
}

#[test]
fn weights_behind_rearrangements_are_found() {
    let graph = build(|b, x| {
        let w = matrix(b, "w");
        let alias = b.node("Identity", &[&w], &[]);
        let turned = b.node("Transpose", &[&alias], &[]);
        b.node("MatMul", &[x, &turned], &[])
    });
    assert_eq!(trained(&graph), ["w"]);
}

#[test]
fn a_mask_and_a_half_precision_weight_are_left_alone_with_the_reason() {
    let graph = build(|b, x| {
        let w = matrix(b, "w");
        let hidden = b.node("MatMul", &[x, &w], &[]);
        let mask = b.initializer("mask", &Tensor::from_f32(&[2], &[0.0, f32::NEG_INFINITY]));
        b.node("Add", &[&hidden, &mask], &[])
    });
    assert_eq!(trained(&graph), ["w"]);
    assert!(reason(&graph, "mask").contains("not finite"), "{:?}", graph.frozen);
}

#[test]
fn a_weight_that_the_loss_does_not_depend_on_is_named() {
    let graph = build(|b, x| {
        let (w, aside) = (matrix(b, "w"), matrix(b, "aside"));
        let other = b.node("MatMul", &[x, &aside], &[]);
        b.output(&other, DataType::Float, &["n".into(), 2.into()]);
        let y = b.node("MatMul", &[x, &w], &[]);
        // The scored output is the first that is declared.
        b.node("Identity", &[&y], &[])
    });
    assert_eq!(trained(&graph), ["aside"]);
    assert!(reason(&graph, "w").contains("does not depend"), "{:?}", graph.frozen);
}
