//! Zeros instead of cuts.

use super::*;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::Method;

fn sparse(share: f64, exclude: &[&str]) -> (Model, Pruned) {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 10);
    let y = net.dense("b", &y, 10, 4);
    let model = net.finish(&y, &[4]);
    let request = PruneRequest {
        method: Method::Unstructured,
        target: Some(Target::Sparsity(share)),
        exclude: exclude.iter().map(|name| (*name).to_owned()).collect(),
        ..PruneRequest::default()
    };
    let pruned = prune(&model, &request.parse().unwrap(), None, 1, &|_| {}).unwrap();
    (model, pruned)
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    model.graph().constant(name).unwrap().unwrap().to_f32().unwrap().into_owned()
}

#[test]
fn the_smallest_weights_of_all_layers_become_zero_and_the_others_stay() {
    let (model, pruned) = sparse(0.25, &[]);
    let before = [values(&model, "a"), values(&model, "b")].concat();
    let after = [values(&pruned.model, "a"), values(&pruned.model, "b")].concat();
    let mut sorted: Vec<f32> = before.iter().map(|value| value.abs()).collect();
    sorted.sort_by(f32::total_cmp);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(*after, if before.abs() < sorted[20] { 0.0 } else { *before });
    }
    assert_eq!(values(&model, "a.bias"), values(&pruned.model, "a.bias"));
    assert_eq!((pruned.report.removed, proof(&pruned).kind.as_str(), &pruned.plan), (0.25, "verified", &None));
}

#[test]
fn excluded_weights_get_no_zeros() {
    let (model, pruned) = sparse(0.5, &["a"]);
    assert_eq!(values(&model, "a"), values(&pruned.model, "a"));
    assert_eq!(values(&pruned.model, "b").iter().filter(|value| **value == 0.0).count(), 20);
}

fn sparser(model: &Model, share: f64) -> Result<Pruned, PruneError> {
    let target = Some(Target::Sparsity(share));
    let request = PruneRequest { method: Method::Unstructured, target, ..PruneRequest::default() };
    prune(model, &request.parse().unwrap(), None, 1, &|_| {})
}

#[test]
fn a_weight_behind_a_transpose_gets_zeros_and_a_table_is_listed() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let w = net.weight("w", &[10, 4]);
    let t = net.node("Transpose", &[&w], &[("perm", ints(&[1, 0]))]);
    let t = net.node("Identity", &[&t], &[]);
    let y = net.node("MatMul", &[&x, &t], &[]);
    let table = net.weight("table", &[1, 10]);
    let y = net.node("Add", &[&y, &table], &[]);
    let model = net.finish(&y, &[10]);
    let pruned = sparser(&model, 0.5).unwrap();
    assert_eq!(values(&pruned.model, "w").iter().filter(|value| **value == 0.0).count(), 20);
    let frozen: Vec<&str> = pruned.report.frozen.iter().map(|frozen| frozen.what.as_str()).collect();
    assert_eq!(frozen, ["table"]);
    assert_eq!(pruned.report.frozen[0].operator.as_deref(), Some("Add Add_3"));
    assert!(pruned.report.frozen[0].reason.contains("no convolution or matrix product"), "{:?}", pruned.report.frozen);
    assert!(proof(&pruned).passed);
}

#[test]
fn a_model_without_a_weight_to_zero_misses_its_target() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let table = net.weight("table", &[1, 4]);
    let y = net.node("Mul", &[&x, &table], &[]);
    let failure = Failure::from(sparser(&net.finish(&y, &[4]), 0.5).unwrap_err());
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
    assert!(failure.to_string().contains("sparsity 0.5 cannot be reached"), "{failure}");
    assert!(failure.to_string().contains("no convolution or matrix product"), "{failure}");
}

#[test]
fn a_weight_that_two_layers_share_counts_once_and_a_computed_one_is_not_looked_through() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let (w, v) = (net.weight("w", &[4, 4]), net.weight("v", &[4, 4]));
    let y = net.node("MatMul", &[&x, &w], &[]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let scaled = net.node("Tanh", &[&v], &[]);
    let y = net.node("MatMul", &[&y, &scaled], &[]);
    let model = net.finish(&y, &[4]);
    let pruned = sparser(&model, 0.25).unwrap();
    assert_eq!(values(&pruned.model, "w").iter().filter(|value| **value == 0.0).count(), 4);
    assert_eq!(values(&pruned.model, "v"), values(&model, "v"));
    assert_eq!((pruned.report.removed, pruned.report.frozen[0].what.as_str()), (0.25, "v"));
}
