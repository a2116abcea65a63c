//! Zeros instead of cuts.

use super::*;
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
    let pruned = prune(&model, &request.parse().unwrap(), 1, &|_| {}).unwrap();
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
    assert_eq!((pruned.report.removed, pruned.report.certificate.kind.as_str(), pruned.plan), (0.25, "verified", None));
}

#[test]
fn excluded_weights_get_no_zeros() {
    let (model, pruned) = sparse(0.5, &["a"]);
    assert_eq!(values(&model, "a"), values(&pruned.model, "a"));
    assert_eq!(values(&pruned.model, "b").iter().filter(|value| **value == 0.0).count(), 20);
}
