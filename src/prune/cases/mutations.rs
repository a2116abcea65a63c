//! Cuts that are made wrong on purpose: the certificate sees each of them.

use super::*;
use crate::prune::surgery::{Tailor, apply_plan};

fn net() -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let a = net.conv("a", &x, 3, 8);
    let b = net.conv("b", &x, 3, 8);
    let y = net.node("Concat", &[&a, &b], &[("axis", Attribute::Int(1))]);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("c", &y, 16, 4);
    let target = net.b.initializer("target", &Tensor::from_i64(&[2], &[0, 100]));
    let y = net.node("Reshape", &[&y, &target], &[]);
    let y = net.dense("head", &y, 100, 2);
    net.finish(&y, &[2])
}

/// The certificate of a cut whose plan was changed before it was carried out.
fn verdict(change: impl FnOnce(&mut Plan)) -> Result<crate::spec::report::Certificate, String> {
    verdict_on(&net(), change)
}

fn verdict_on(model: &Model, change: impl FnOnce(&mut Plan)) -> Result<crate::spec::report::Certificate, String> {
    let (graph, inferred, spec) = (model.graph(), crate::onnx::shape::infer(model), half());
    let cut = structured::cut(structured::Cloth {
        model,
        graph: &graph,
        inferred: &inferred,
        spec: &spec,
        evidence: None,
        host: &Host::alone(),
    })
    .unwrap();
    let mut plan = cut.plan.clone();
    change(&mut plan);
    let candidate = apply_plan(model, &plan).map_err(|error| error.to_string())?;
    let host = Host::alone();
    let run = Run {
        model,
        graph: &graph,
        inferred: &inferred,
        spec: &spec,
        calibration: None,
        threads: 1,
        host: &host,
        entered: &|_| {},
    };
    let tailor = Tailor::new(model, &graph, &inferred, &cut.coupling, &cut.selection);
    run.subject(&candidate).masked_equivalence(&tailor, &plan).map_err(|error| error.to_string())
}

#[test]
fn the_plan_as_it_is_passes() {
    assert!(verdict(|_| {}).unwrap().passed);
}

#[test]
fn a_bias_left_uncut_is_seen() {
    let error = verdict(|plan| plan.tensors.retain(|cut| cut.tensor != "a.bias")).unwrap_err();
    assert!(error.contains("the new model does not run"), "{error}");
}

#[test]
fn a_bias_cut_at_other_channels_is_seen() {
    let error = verdict(|plan| {
        let cut = plan.tensors.iter_mut().find(|cut| cut.tensor == "a.bias").unwrap();
        shift(&mut cut.axes[0]);
    });
    assert!(error.unwrap_err().contains("differs from the masked original"));
}

#[test]
fn an_offset_off_by_one_is_seen() {
    let error = verdict(|plan| {
        let cut = plan.tensors.iter_mut().find(|cut| cut.tensor == "c").unwrap();
        let axis = cut.axes.iter_mut().find(|axis| axis.axis == 1).unwrap();
        shift(axis);
    });
    assert!(error.unwrap_err().contains("differs from the masked original"));
}

#[test]
fn columns_of_a_flattened_plane_that_are_taken_wrongly_are_seen() {
    let error = verdict(|plan| {
        let cut = plan.tensors.iter_mut().find(|cut| cut.tensor == "head").unwrap();
        shift(&mut cut.axes[0]);
    });
    assert!(error.unwrap_err().contains("differs from the masked original"));
}

#[test]
fn a_shape_constant_left_as_it_was_is_seen() {
    assert!(verdict(|plan| plan.numbers.clear()).is_err());
}

/// The same number of indices, each one further.
fn shift(axis: &mut AxisCut) {
    let size = axis.size as u32;
    axis.removed = axis.removed.iter().map(|index| (index + 1) % size).collect();
    axis.removed.sort_unstable();
}

#[test]
fn a_wrong_cut_is_seen_behind_an_arg_max_and_a_softmax() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let y = net.dense("b", &y, 8, 3);
    let soft = net.node("Softmax", &[&y], &[]);
    let best = net.node("ArgMax", &[&soft], &[("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))]);
    net.b.output(&best, DataType::Int64, &[Size::from("n")]);
    let model = net.b.build(17);
    let certificate = verdict_on(&model, |_| {}).unwrap();
    let mut compared: Vec<(&str, &str)> =
        certificate.checks.iter().map(|check| (check.output.as_str(), check.weights.as_str())).collect();
    compared.sort_unstable();
    compared.dedup();
    let mut expected = [y.as_str(), soft.as_str()].map(|name| [(name, "own"), (name, "random")]).concat();
    expected.sort_unstable();
    assert_eq!(compared, expected);
    let error = verdict_on(&model, |plan| {
        let cut = plan.tensors.iter_mut().find(|cut| cut.tensor == "a.bias").unwrap();
        shift(&mut cut.axes[0]);
    });
    assert!(error.unwrap_err().contains(&format!("`{y}` differs from the masked original")));
}

/// A dense layer behind an operator that has no numbers for some inputs.
fn behind(op_type: &str) -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.node(op_type, &[&x], &[]);
    let y = net.dense("a", &y, 4, 8);
    let y = net.dense("b", &y, 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn where_inputs_around_zero_give_no_numbers_positive_ones_are_compared() {
    let wrong = |plan: &mut Plan| {
        let cut = plan.tensors.iter_mut().find(|cut| cut.tensor == "a.bias").unwrap();
        shift(&mut cut.axes[0]);
    };
    for op_type in ["Log", "Sqrt"] {
        assert!(verdict_on(&behind(op_type), |_| {}).unwrap().passed, "{op_type}");
        assert!(verdict_on(&behind(op_type), wrong).unwrap_err().contains("differs"), "{op_type}");
    }
}

#[test]
fn where_there_are_no_numbers_at_all_nothing_is_proven() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let (beyond, one) =
        (net.b.constant(&Tensor::from_f32(&[], &[1e30])), net.b.constant(&Tensor::from_f32(&[], &[2.0])));
    let y = net.node("Abs", &[&y], &[]);
    let y = net.node("Add", &[&y, &beyond], &[]);
    let y = net.node("Add", &[&y, &one], &[]);
    let y = net.node("Acos", &[&y], &[]);
    let y = net.dense("b", &y, 8, 2);
    let error = verdict_on(&net.finish(&y, &[2]), |_| {}).unwrap_err();
    assert!(error.contains("no finite numbers"), "{error}");
}

#[test]
fn a_model_that_pairs_its_samples_is_run_on_even_batches() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let pairs = net.numbers(&[-1, 2, 8]);
    let y = net.node("Reshape", &[&y, &pairs], &[]);
    let rows = net.numbers(&[-1, 8]);
    let y = net.node("Reshape", &[&y, &rows], &[]);
    let y = net.dense("b", &y, 8, 2);
    let model = net.finish(&y, &[2]);
    let certificate = verify(&model, &model, &[], 1, 1).unwrap();
    let batches: Vec<u64> = certificate.checks.iter().map(|check| check.batch_size).collect();
    assert!(batches.contains(&2) && batches.contains(&4) && !batches.contains(&3), "{batches:?}");
}
