//! Zeros instead of cuts.

use super::*;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Method, NOfM, Scope, Store};

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

#[test]
fn a_quantized_model_misses_its_target_with_the_type_as_the_reason() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let bytes = Tensor::from_bytes(DataType::Int8, &[4, 4], vec![3; 16].into()).unwrap();
    let (w, scale) = (net.b.initializer("w", &bytes), net.b.constant(&Tensor::from_f32(&[], &[0.5])));
    let w = net.node("DequantizeLinear", &[&w, &scale], &[]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let failure = Failure::from(sparser(&net.finish(&y, &[4]), 0.5).unwrap_err());
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
    assert!(failure.to_string().contains("its elements are int8"), "{failure}");
}

#[test]
fn weights_that_graphs_inside_of_nodes_hold_or_read_are_named() {
    let pruned = sparser(&super::bodies::branches(), 0.5).unwrap();
    let frozen = |name: &str| -> Vec<(String, String)> {
        let found = pruned.report.frozen.iter().filter(|frozen| frozen.what == name);
        found.map(|frozen| (frozen.operator.clone().unwrap_or_default(), frozen.reason.clone())).collect()
    };
    assert_eq!(frozen("shared"), [("If chosen".to_owned(), "a graph inside of If chosen reads it".to_owned())]);
    let inside = ("MatMul out".to_owned(), "it is in a graph inside of If chosen".to_owned());
    assert_eq!(frozen("w"), [inside.clone(), inside]);
}

fn zeros(model: &Model, name: &str) -> usize {
    values(model, name).iter().filter(|value| **value == 0.0).count()
}

#[test]
fn each_tensor_gives_the_same_share_where_the_scope_is_local() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 10);
    // Weights that are all larger than those of the first layer: a global budget would spare them.
    let large: Vec<f32> = (0..40).map(|at| 2.0 + at as f32).collect();
    let w = net.b.initializer("b", &Tensor::from_f32(&[10, 4], &large));
    let y = net.node("MatMul", &[&y, &w], &[]);
    let model = net.finish(&y, &[4]);
    let spec = |scope| {
        let (method, target) = (Method::Unstructured, Some(Target::Sparsity(0.3)));
        PruneRequest { method, scope, target, ..PruneRequest::default() }.parse().unwrap()
    };
    let local = prune(&model, &spec(Scope::Local), None, 1, &|_| {}).unwrap();
    assert_eq!((zeros(&local.model, "a"), zeros(&local.model, "b")), (12, 12));
    assert_eq!(values(&local.model, "b")[..13], [&[0.0; 12][..], &[14.0]].concat());
    let global = prune(&model, &spec(Scope::Global), None, 1, &|_| {}).unwrap();
    assert_eq!((zeros(&global.model, "a"), zeros(&global.model, "b")), (24, 0));
}

fn patterned(model: &Model, pattern: &str) -> Result<Pruned, PruneError> {
    let target = Some(Target::NOfM(NOfM::try_from(pattern.to_owned()).unwrap()));
    let request = PruneRequest { method: Method::Unstructured, target, ..PruneRequest::default() };
    prune(model, &request.parse().unwrap(), None, 1, &|_| {})
}

/// Checks each run of four neighbours, which lie `step` apart, of a weight that has two zeros in each.
fn assert_two_of_four(before: &[f32], after: &[f32], runs: impl Iterator<Item = [usize; 4]>) {
    let mut seen = 0;
    for run in runs {
        seen += 4;
        let zeros: Vec<usize> = run.into_iter().filter(|at| after[*at] == 0.0).collect();
        assert_eq!(zeros.len(), 2, "run {run:?}");
        for kept in run.into_iter().filter(|at| !zeros.contains(at)) {
            assert_eq!(after[kept], before[kept]);
            assert!(zeros.iter().all(|zero| before[*zero].abs() <= before[kept].abs()), "run {run:?}");
        }
    }
    assert_eq!(seen, after.len(), "every weight lies in a run");
}

#[test]
fn a_pattern_lies_along_the_axis_that_is_summed_over() {
    let mut net = Net::new();
    let x = net.input(&[3, 6, 6]);
    let y = net.conv("first", &x, 3, 8);
    let y = net.conv("conv", &y, 8, 4);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let y = net.dense("gemm", &y, 4, 8);
    let w = net.weight("matmul", &[8, 6]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let w = net.weight("turned", &[8, 6]);
    let t = net.node("Transpose", &[&w], &[]);
    let y = net.node("MatMul", &[&y, &t], &[]);
    let w = net.weight("regrouped", &[32, 1]);
    let flat = net.numbers(&[8, 4]);
    let t = net.node("Reshape", &[&w, &flat], &[]);
    let y = net.node("MatMul", &[&y, &t], &[]);
    let model = net.finish(&y, &[4]);
    let pruned = patterned(&model, "2:4").unwrap();
    let both = |name: &str| (values(&model, name), values(&pruned.model, name));
    // `conv` is [4, 8, 3, 3]: input channels lie 9 apart.
    let (before, after) = both("conv");
    let runs = (0..4).flat_map(|o| (0..2).flat_map(move |run| (0..9).map(move |k| (o * 8 + run * 4) * 9 + k)));
    assert_two_of_four(&before, &after, runs.map(|first| [0, 1, 2, 3].map(|at| first + at * 9)));
    // [8, 4] transposed: columns lie side by side.
    let (before, after) = both("gemm");
    assert_two_of_four(&before, &after, (0..8).map(|row| [0, 1, 2, 3].map(|at| row * 4 + at)));
    // [8, 6]: rows lie 6 apart.
    let (before, after) = both("matmul");
    let runs = (0..2).flat_map(|run| (0..6).map(move |column| run * 24 + column));
    assert_two_of_four(&before, &after, runs.map(|first| [0, 1, 2, 3].map(|at| first + at * 6)));
    for (name, reason) in [
        ("first", "axis 1, which is summed over, has 3 elements, not a multiple of 4"),
        ("turned", "axis 1, which is summed over, has 6 elements, not a multiple of 4"),
        ("regrouped", "regroups its axes"),
    ] {
        assert_eq!(values(&model, name), values(&pruned.model, name));
        let frozen = pruned.report.frozen.iter().find(|frozen| frozen.what == name).unwrap();
        assert!(frozen.reason.contains(reason), "{frozen:?}");
    }
    assert_eq!((pruned.report.removed, proof(&pruned).passed), (0.5, true));
    assert!(pruned.report.notes[0].contains("full cost"));
}

#[test]
fn a_pattern_that_fits_no_weight_is_unreachable() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 10);
    let failure = Failure::from(patterned(&net.finish(&y, &[10]), "4:8").unwrap_err());
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
    assert!(failure.to_string().contains("4:8") && failure.to_string().contains("not a multiple of 8"), "{failure}");
}

#[test]
fn a_model_of_many_zeros_is_kept_in_sparse_form_where_that_is_smaller() {
    let mut net = Net::new();
    let x = net.input(&[32]);
    let y = net.dense("a", &x, 32, 64);
    let y = net.dense("b", &y, 64, 4);
    let model = net.finish(&y, &[4]);
    let pruned = sparser(&model, 0.9).unwrap();
    let stored = pruned.report.stored.as_ref().unwrap();
    assert_eq!((stored.form.as_str(), stored.tensors, &stored.reason), ("sparse_initializer", 2, &None));
    let mut file = Vec::new();
    pruned.model.write(&mut file).unwrap();
    assert_eq!(stored.sparse_bytes, Some(file.len() as u64));
    assert_eq!(pruned.report.size_after.bytes, file.len() as u64);
    assert!(stored.dense_bytes > 2 * file.len() as u64, "{stored:?}");
    let read = Model::from_bytes(file.into(), &crate::spec::attempt::ModelLimits::default()).unwrap();
    assert_eq!((values(&read, "a"), values(&read, "b")), (values(&pruned.model, "a"), values(&pruned.model, "b")));

    let request = PruneRequest {
        method: Method::Unstructured,
        target: Some(Target::Sparsity(0.9)),
        store: Store::Dense,
        ..PruneRequest::default()
    };
    let dense = prune(&model, &request.parse().unwrap(), None, 1, &|_| {}).unwrap();
    assert_eq!(dense.report.stored.unwrap().reason.as_deref(), Some("the request asks for dense weights"));
    assert_eq!(dense.model.size_bytes(), dense.model.to_bytes().len());

    let few = sparser(&model, 0.5).unwrap().report.stored.unwrap();
    assert_eq!((few.form.as_str(), few.sparse_bytes), ("dense", None));
}

#[test]
fn only_methods_that_make_zeros_choose_how_they_are_kept() {
    for method in [Method::Structured, Method::Depth, Method::LowRank] {
        let request = PruneRequest { method, store: Store::Dense, ..PruneRequest::default() };
        assert_eq!(request.parse().unwrap_err().0, "store", "{method:?}");
    }
}

/// Files before IR version 4 list every initializer among the inputs, some exporters do so ever since, and the sparse form
/// came with version 6: the reason once was that no weight had zeros enough.
#[test]
fn weights_that_the_file_cannot_keep_in_sparse_form_stay_dense_with_that_reason() {
    let mut net = Net::new();
    let x = net.input(&[32]);
    let y = net.dense("a", &x, 32, 64);
    let y = net.dense("b", &y, 64, 4);
    let model = net.finish_in(&y, &[4], 9);
    let list = |model: &mut Model, names: &[&str]| {
        for name in names {
            let dims = model.graph().initializer(name).unwrap().dims.clone();
            let sizes: Vec<Size> = dims.iter().map(|size| Size::Fixed(*size as usize)).collect();
            let info = crate::onnx::builder::value_info(name, DataType::Float, &sizes);
            model.graph_proto_mut().input.push(info);
        }
    };
    let stored = |model: &Model| {
        let report = sparser(model, 0.95).unwrap().report;
        (report.stored.unwrap(), report.notes)
    };
    for version in [3, 5] {
        let mut old = model.clone();
        old.proto.ir_version = Some(version);
        list(&mut old, &["a", "a.bias", "b", "b.bias"]);
        let (stored, _) = stored(&old);
        assert_eq!((stored.form.as_str(), stored.tensors, stored.sparse_bytes), ("dense", 0, None));
        let reason = stored.reason.unwrap();
        assert!(reason.contains(&format!("IR version {version}")), "{reason}");
    }
    let mut listed = model.clone();
    listed.proto.ir_version = Some(6);
    list(&mut listed, &["a"]);
    let (half, notes) = stored(&listed);
    assert_eq!((half.form.as_str(), half.tensors, half.reason), ("sparse_initializer", 1, None));
    assert!(notes.iter().any(|note| note.contains("1 of the weights") && note.contains("inputs")), "{notes:?}");
    list(&mut listed, &["b"]);
    let (none, _) = stored(&listed);
    assert_eq!((none.form.as_str(), none.tensors), ("dense", 0));
    assert!(none.reason.as_ref().unwrap().contains("2 of the weights"), "{none:?}");
}
