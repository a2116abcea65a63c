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

pub(super) fn verdict_on(
    model: &Model,
    change: impl FnOnce(&mut Plan),
) -> Result<crate::spec::report::Certificate, String> {
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
pub(super) fn shift(axis: &mut AxisCut) {
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

/// The cut of a constant in a plan.
pub(super) fn cut_of<'p>(plan: &'p mut Plan, tensor: &str) -> &'p mut crate::prune::surgery::TensorCut {
    plan.tensors.iter_mut().find(|cut| cut.tensor == tensor).unwrap_or_else(|| panic!("`{tensor}` is not cut"))
}

/// Grouped convolutions whose channels are normalised in groups.
fn groups() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4, 5, 5]);
    let y = net.grouped_conv("a", &x, 4, 8, 4);
    let (scale, shift) = (net.positive("scale", &[8]), net.weight("shift", &[8]));
    let (mean, variance) = (net.weight("mean", &[8]), net.positive("variance", &[8]));
    let y = net.node("BatchNormalization", &[&y, &scale, &shift, &mean, &variance], &[]);
    let y = net.grouped_conv("b", &y, 8, 8, 8);
    let y = net.conv("c", &y, 8, 2);
    net.finish(&y, &[2, 5, 5])
}

#[test]
fn a_group_count_left_as_it_was_is_seen() {
    assert!(verdict_on(&groups(), |_| {}).unwrap().passed);
    let error = verdict_on(&groups(), |plan| plan.attributes.retain(|change| change.attribute != "group")).unwrap_err();
    assert!(error.contains("does not run"), "{error}");
}

#[test]
fn scales_and_variances_of_other_channels_are_seen() {
    for name in ["scale", "shift", "mean", "variance"] {
        let error = verdict_on(&groups(), |plan| shift(&mut cut_of(plan, name).axes[0])).unwrap_err();
        assert!(error.contains("differs from the masked original"), "{name}: {error}");
    }
}

fn recurrent() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4, 3]);
    let y = net.node("Transpose", &[&x], &[("perm", ints(&[1, 0, 2]))]);
    let (w, r, b) = (net.weight("w", &[1, 32, 3]), net.weight("r", &[1, 32, 8]), net.weight("b", &[1, 64]));
    let y = net.b.nodes("LSTM", &[&y, &w, &r, &b], &[("hidden_size", Attribute::Int(8))], 2);
    let axes = net.numbers(&[0]);
    let y = net.node("Squeeze", &[&y[1], &axes], &[]);
    let y = net.dense("head", &y, 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn gates_that_are_taken_with_a_wrong_stride_are_seen() {
    assert!(verdict_on(&recurrent(), |_| {}).unwrap().passed);
    // All rows of the first gates instead of some of each.
    let error = verdict_on(&recurrent(), |plan| {
        for name in ["w", "r"] {
            let axis = cut_of(plan, name).axes.iter_mut().find(|axis| axis.axis == 1).unwrap();
            axis.removed = (0..axis.removed.len() as u32).collect();
        }
    });
    assert!(error.unwrap_err().contains("differs from the masked original"));
    let error = verdict_on(&recurrent(), |plan| shift(&mut cut_of(plan, "b").axes[0])).unwrap_err();
    assert!(error.contains("differs from the masked original"), "{error}");
}

#[test]
fn a_hidden_size_left_as_it_was_is_seen() {
    assert!(verdict_on(&recurrent(), |plan| plan.attributes.clear()).is_err());
}

/// Attention whose scores are divided by the root of the positions in a head, read off the shape.
fn scaled() -> Model {
    let mut net = Net::new();
    let x = net.input(&[5, 4]);
    let (q, k, v) = (net.weight("q", &[4, 8]), net.weight("k", &[4, 8]), net.weight("v", &[4, 8]));
    let [query, key, value] = [q, k, v].map(|w| net.node("MatMul", &[&x, &w], &[]));
    let turned = net.node("Transpose", &[&key], &[("perm", ints(&[0, 2, 1]))]);
    let scores = net.node("MatMul", &[&query, &turned], &[]);
    let size = net.node("Shape", &[&query], &[]);
    let last = net.b.constant(&Tensor::from_i64(&[], &[2]));
    let size = net.node("Gather", &[&size, &last], &[]);
    let size = net.node("Cast", &[&size], &[("to", Attribute::Int(1))]);
    let root = net.node("Sqrt", &[&size], &[]);
    let scores = net.node("Div", &[&scores, &root], &[]);
    let soft = net.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
    let y = net.node("MatMul", &[&soft, &value], &[]);
    let o = net.weight("o", &[8, 2]);
    let y = net.node("MatMul", &[&y, &o], &[]);
    net.finish(&y, &[5, 2])
}

#[test]
fn a_scale_that_is_not_pinned_is_seen() {
    assert!(verdict_on(&scaled(), |_| {}).unwrap().passed);
    let error = verdict_on(&scaled(), |plan| plan.numbers.clear()).unwrap_err();
    assert!(error.contains("differs from the masked original"), "{error}");
}

/// Attention as one operator.
fn heads() -> Model {
    let mut net = Net::new();
    let x = net.input(&[5, 4]);
    let (q, k, v) = (net.weight("q", &[4, 16]), net.weight("k", &[4, 16]), net.weight("v", &[4, 16]));
    let parts = [q, k, v].map(|w| net.node("MatMul", &[&x, &w], &[]));
    let inputs = parts.each_ref().map(String::as_str);
    let y = net.fused("MultiHeadAttention", &inputs, &[("num_heads", Attribute::Int(4))]);
    let o = net.weight("o", &[16, 2]);
    let y = net.node("MatMul", &[&y, &o], &[]);
    net.b.import("com.microsoft", 1);
    net.finish(&y, &[5, 2])
}

#[test]
fn a_head_count_left_as_it_was_is_seen() {
    assert!(verdict_on(&heads(), |_| {}).unwrap().passed);
    // Four heads of two positions where two of four are right: it runs, and computes something else.
    let error = verdict_on(&heads(), |plan| plan.attributes.clear()).unwrap_err();
    assert!(error.contains("differs from the masked original"), "{error}");
}

/// A normalisation over channels, written out: the mean divides by what is kept.
fn normalised() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let sum = net.numbers(&[1]);
    let sum = net.node("ReduceSum", &[&y, &sum], &[("keepdims", Attribute::Int(1))]);
    let shape = net.node("Shape", &[&y], &[]);
    let last = net.b.constant(&Tensor::from_i64(&[], &[1]));
    let count = net.node("Gather", &[&shape, &last], &[]);
    let count = net.node("Cast", &[&count], &[("to", Attribute::Int(1))]);
    let mean = net.node("Div", &[&sum, &count], &[]);
    let y = net.node("Sub", &[&y, &mean], &[]);
    let y = net.dense("b", &y, 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn a_mean_over_another_count_is_seen() {
    assert!(verdict_on(&normalised(), |_| {}).unwrap().passed);
    let error = verdict_on(&normalised(), |plan| plan.numbers.clear()).unwrap_err();
    assert!(error.contains("differs from the masked original"), "{error}");
}

#[test]
fn the_wrong_end_of_a_joined_axis_is_seen() {
    let error = verdict(|plan| {
        let cut = cut_of(plan, "c");
        let axis = cut.axes.iter_mut().find(|axis| axis.axis == 1).unwrap();
        let half = axis.size as u32 / 2;
        // What belongs to the first operand is taken from the second, and the other way round.
        axis.removed = axis.removed.iter().map(|index| (index + half) % (2 * half)).collect();
        axis.removed.sort_unstable();
    });
    assert!(error.unwrap_err().contains("differs from the masked original"));
}
