//! What an analysis says of graphs whose parameters and multiply-accumulates are counted by hand.

use super::*;
use crate::data::test_files::labelled;
use crate::data::{Calibration, Dataset};
use crate::spec::analysis::{AnalyzeReport, AnalyzedGroup, DeadChannels, DuplicateChannels};
use crate::spec::analyze::AnalyzeSpec;
use crate::spec::attempt::DatasetLimits;
use crate::spec::summary::Axis;

fn analyzed(model: &Model) -> Analysis {
    with(model, &AnalyzeSpec::default())
}

fn with(model: &Model, spec: &AnalyzeSpec) -> Analysis {
    analyze(model, spec, None, 1).unwrap_or_else(|error| panic!("{error}"))
}

/// The group with this axis of an initializer.
fn group<'a>(report: &'a AnalyzeReport, initializer: &str, axis: u64) -> &'a AnalyzedGroup {
    let holds = |group: &&AnalyzedGroup| {
        group.members.iter().any(|member| member.initializer == initializer && member.axis == axis)
    };
    let found: Vec<&AnalyzedGroup> = report.groups.iter().filter(holds).collect();
    assert_eq!(found.len(), 1, "{initializer} (axis {axis}) in {:#?}", report.groups);
    found[0]
}

/// Reason and hint of a frozen group.
fn frozen(group: &AnalyzedGroup) -> (Option<&str>, Option<&str>, &str, &str) {
    let by = group.frozen_by.as_ref().unwrap_or_else(|| panic!("{group:#?}"));
    (by.operator.as_deref(), by.tensor.as_deref(), &by.reason, by.hint.as_deref().unwrap_or_default())
}

fn chain() -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 6, 6]);
    let y = net.conv("a", &x, 3, 8);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("b", &y, 8, 4);
    net.finish(&y, &[4, 6, 6])
}

#[test]
fn a_group_carries_the_weights_on_both_of_its_sides() {
    let report = analyzed(&chain()).report;
    // a [8, 3, 3, 3], its bias [8], b [4, 8, 3, 3]; 36 pixels.
    let (a, b) = (8 * 3 * 9, 4 * 8 * 9);
    let inner = group(&report, "a", 0);
    let members: Vec<(&str, u64, &str)> =
        inner.members.iter().map(|m| (m.initializer.as_str(), m.axis, m.operator.as_str())).collect();
    assert_eq!(members, [("a", 0, "Conv Conv_0"), ("a.bias", 0, "Conv Conv_0"), ("b", 1, "Conv Conv_2")]);
    assert_eq!((inner.prunable, inner.width, inner.parameters), (true, 8, a + 8 + b));
    assert_eq!(inner.macs, Some(36 * (a + b)));
    assert_eq!(inner.contribution, Some(1.0), "the only group is the median");

    let input = group(&report, "a", 1);
    assert_eq!((input.prunable, input.width, input.parameters, input.macs), (false, 3, a, Some(36 * a)));
    let (operator, tensor, reason, hint) = frozen(input);
    assert_eq!((operator, tensor, reason), (None, Some("x"), "it reaches the graph input `x`"));
    assert!(hint.contains("inputs keep their shapes"), "{hint}");

    let head = group(&report, "b", 0);
    assert_eq!((head.width, head.parameters, head.macs), (4, b + 4, Some(36 * b)));
    assert!(frozen(head).3.contains("the head keeps its classes"), "{head:#?}");

    assert_eq!(report.coverage.parameters, (a + 8 + b) as f64 / (a + 8 + b + 4) as f64);
    assert_eq!(report.coverage.macs, Some(1.0));
    assert_eq!((report.size.parameters, report.size.macs), (a + 8 + b + 4, Some(36 * (a + b))));
    assert_eq!(report.groups.len(), 3, "windows are no channels: {:#?}", report.groups);
    assert!(report.groups[0].prunable);
}

#[test]
fn coverage_counts_a_weight_on_two_cut_axes_once_and_leaves_out_what_stays() {
    let mut net = Net::new();
    let x = net.input(&[10]);
    let y = net.dense("a", &x, 10, 8);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("b", &y, 8, 8);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("c", &y, 8, 5);
    let lone = net.dense("lone", &x, 10, 5);
    let y = net.node("Add", &[&y, &lone], &[]);
    let report = analyzed(&net.finish(&y, &[5])).report;
    // a 80 + 8, b 64 + 8, c 40 lie in groups; c's bias 5 and lone's 50 + 5 do not.
    assert_eq!(report.coverage.parameters, 200.0 / 260.0);
    assert_eq!(report.coverage.macs, Some(184.0 / 234.0));
    assert_eq!(group(&report, "a", 0).parameters, 80 + 8 + 64);
    assert_eq!(group(&report, "b", 0).parameters, 64 + 8 + 40);
    let head = group(&report, "lone", 0);
    assert_eq!((head.width, head.parameters, head.macs), (5, 40 + 5 + 50 + 5, Some(90)));
}

#[test]
fn layers_tell_shape_parameters_macs_and_zeros() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let w = net.b.initializer("w", &Tensor::from_f32(&[4, 2], &[0.0, 1.0, 0.0, 0.0, 2.0, 3.0, -0.0, 1.0]));
    let y = net.node("MatMul", &[&x, &w], &[]);
    let y = net.node("Relu", &[&y], &[]);
    let report = analyzed(&net.finish(&y, &[2])).report;
    let [product, relu] = report.layers.as_slice() else { panic!("{:#?}", report.layers) };
    assert_eq!((product.operator.as_str(), product.parameters, product.macs), ("MatMul", 8, Some(8)));
    assert_eq!(product.output_shape, Some(vec![Axis::Symbol("n".into()), Axis::Size(2)]));
    assert_eq!(product.sparsity, Some(0.5));
    assert_eq!((relu.parameters, relu.macs, relu.sparsity), (0, Some(0), None));
}

#[test]
fn open_axes_leave_macs_out_until_examples_are_given() {
    let mut net = Net::new();
    let x = net.b.input("x", DataType::Float, &["n".into(), "length".into(), 6.into()]);
    let w = net.weight("w", &[6, 4]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let v = net.weight("v", &[4, 5]);
    let y = net.node("MatMul", &[&y, &v], &[]);
    net.b.output(&y, DataType::Float, &["n".into(), "length".into(), 5.into()]);
    let model = net.b.build(17);
    let analysis = analyzed(&model);
    assert_eq!((group(&analysis.report, "w", 1).macs, analysis.report.coverage.macs), (None, None));
    assert!(analysis.report.layers[0].macs_unknown.as_ref().unwrap().contains("example_shapes"));
    assert!(analysis.findings.iter().any(|finding| finding.contains("example_shapes")), "{:?}", analysis.findings);

    let spec = AnalyzeSpec { example_shapes: [("x".to_owned(), vec![1, 10, 6])].into(), ..AnalyzeSpec::default() };
    let report = with(&model, &spec).report;
    assert_eq!((group(&report, "w", 1).macs, report.coverage.macs), (Some(10 * (24 + 20)), Some(1.0)));
}

#[test]
fn what_the_user_keeps_is_told_with_the_way_to_change_it() {
    let mut net = Net::new();
    let x = net.input(&[6]);
    let y = net.dense("a", &x, 6, 8);
    let scale = net.positive("scale", &[8]);
    let y = net.node("LayerNormalization", &[&y, &scale], &[]);
    let y = net.dense("b", &y, 8, 8);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("c", &y, 8, 3);
    let model = net.finish(&y, &[3]);
    assert!(group(&analyzed(&model).report, "a", 0).prunable);
    let spec = AnalyzeSpec { exclude: vec!["c*".into()], keep_normalized: true, ..AnalyzeSpec::default() };
    let analysis = with(&model, &spec);
    let (operator, _, reason, hint) = frozen(group(&analysis.report, "a", 0));
    assert!(operator.unwrap().starts_with("LayerNormalization") && reason.contains("normalised"), "{reason}");
    assert!(hint.contains("keep_normalized"), "{hint}");
    let (operator, tensor, reason, hint) = frozen(group(&analysis.report, "c", 1));
    assert_eq!((operator, tensor, reason), (None, Some("c"), "it is excluded"));
    assert!(hint.contains("`c*`"), "{hint}");
    assert!(analysis.findings[0].contains("nothing can be pruned by channels"), "{:?}", analysis.findings);

    let spec = AnalyzeSpec { exclude_operators: vec!["Relu".into()], ..AnalyzeSpec::default() };
    let report = with(&model, &spec).report;
    assert!(frozen(group(&report, "b", 0)).3.contains("`exclude_operators` names Relu"), "{report:#?}");

    let misspelt = AnalyzeSpec { exclude: vec!["head*".into()], ..AnalyzeSpec::default() };
    assert!(matches!(analyze(&model, &misspelt, None, 1), Err(PruneError::Names { field: "exclude", .. })));
}

#[test]
fn an_operator_without_a_rule_is_named() {
    let mut net = Net::new();
    let x = net.input(&[6]);
    let y = net.dense("a", &x, 6, 8);
    let y = net.node("Mystery", &[&y], &[]);
    let y = net.dense("b", &y, 8, 3);
    let report = analyzed(&net.finish(&y, &[3])).report;
    let (operator, _, reason, hint) = frozen(group(&report, "a", 0));
    assert_eq!(operator, Some("Mystery Mystery_1"));
    assert_eq!(reason, "there is no coupling rule for Mystery");
    assert!(hint.contains("Mystery"), "{hint}");
}

/// `rows` are the weights of a channel each.
fn matrix(rows: &[[f32; 2]]) -> Tensor {
    Tensor::from_f32(&[rows.len(), 2], rows.as_flattened())
}

#[test]
fn channels_of_zeros_and_equal_channels_are_found() {
    let mut net = Net::new();
    let x = net.input(&[2]);
    // Channel 1 is made of zeros, 0 and 3 are the same, 4 differs from them by its bias, nothing reads 2.
    let w = net.b.initializer("w", &matrix(&[[1.0, 2.0], [0.0, -0.0], [3.0, 1.0], [1.0, 2.0], [1.0, 2.0]]));
    let bias = net.b.initializer("bias", &Tensor::from_f32(&[5], &[0.5, 0.5, 0.5, 0.5, 0.0]));
    let y = net.node("Gemm", &[&x, &w, &bias], &[("transB", Attribute::Int(1))]);
    let y = net.node("Relu", &[&y], &[]);
    let v = net.b.initializer("v", &matrix(&[[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [2.0, 1.0], [1.0, 1.0]]));
    let y = net.node("MatMul", &[&y, &v], &[]);
    let analysis = analyzed(&net.finish(&y, &[2]));
    let dead = DeadChannels { group: "w".into(), without_input: vec![1], without_output: vec![2] };
    assert_eq!(analysis.report.dead_channels, [dead]);
    assert_eq!(analysis.report.duplicate_channels, [DuplicateChannels { group: "w".into(), sets: vec![vec![0, 3]] }]);
    assert!(
        analysis.findings.iter().any(|finding| finding.starts_with("2 channels are dead by the weights")),
        "{analysis:#?}"
    );
}

#[test]
fn a_channel_that_is_read_without_weights_is_not_dead() {
    let mut net = Net::new();
    let x = net.input(&[2]);
    let w = net.weight("w", &[5, 2]);
    let y = net.node("Gemm", &[&x, &w], &[("transB", Attribute::Int(1))]);
    let v = net.b.initializer("v", &matrix(&[[0.0, 0.0]; 5]));
    let head = net.node("MatMul", &[&y, &v], &[]);
    let axes = net.numbers(&[1]);
    let sum = net.node("ReduceSum", &[&y, &axes], &[]);
    let y = net.node("Add", &[&head, &sum], &[]);
    let report = analyzed(&net.finish(&y, &[2])).report;
    assert!(group(&report, "w", 0).prunable);
    assert_eq!(report.dead_channels, []);
}

#[test]
fn a_channel_that_its_normalisation_scales_to_zero_is_dead() {
    let mut net = Net::new();
    let x = net.input(&[3, 4, 4]);
    let y = net.conv("a", &x, 3, 4);
    let scale = net.b.initializer("scale", &Tensor::from_f32(&[4], &[1.0, 0.0, 1.0, 1.0]));
    let (shift, mean, variance) = (net.weight("shift", &[4]), net.weight("mean", &[4]), net.positive("variance", &[4]));
    let y = net.node("BatchNormalization", &[&y, &scale, &shift, &mean, &variance], &[]);
    let y = net.conv("b", &y, 4, 2);
    let report = analyzed(&net.finish(&y, &[2, 4, 4])).report;
    let dead = DeadChannels { group: "a".into(), without_input: vec![1], without_output: vec![] };
    assert_eq!(report.dead_channels, [dead]);
}

#[test]
fn groups_of_small_weights_and_weak_channels_stand_out() {
    let mut net = Net::new();
    let x = net.input(&[8]);
    let mut y = x;
    // Channel 3 of the first group is small on both of its sides.
    for (name, weight) in [("a", 1.0), ("b", 1.0), ("c", 0.01), ("d", 0.01)] {
        let mut values = vec![weight; 64];
        match name {
            "a" => values[3 * 8..4 * 8].fill(1e-3),
            "b" => values.iter_mut().skip(3).step_by(8).for_each(|value| *value = 1e-3),
            _ => {}
        }
        let w = net.b.initializer(name, &Tensor::from_f32(&[8, 8], &values));
        y = net.node("Gemm", &[&y, &w], &[("transB", Attribute::Int(1))]);
    }
    let report = analyzed(&net.finish(&y, &[8])).report;
    let low: Vec<&str> = report.low_contribution.iter().map(|group| group.group.as_str()).collect();
    assert_eq!(low, ["c"], "{:#?}", report.groups);
    assert_eq!((group(&report, "a", 0).weak_channels, group(&report, "c", 0).weak_channels), (1, 0));
}

#[test]
fn weights_that_are_computed_are_told() {
    let mut net = Net::new();
    let x = net.input(&[6]);
    let y = net.dense("a", &x, 6, 8);
    let w = net.weight("w", &[8, 3]);
    let w = net.node("Neg", &[&w], &[]);
    let y = net.node("Gemm", &[&y, &w], &[]);
    let findings = analyzed(&net.finish(&y, &[3])).findings;
    let expected =
        "the weights of 1 layers are computed while the model runs, the first those of Gemm Gemm_2 by Neg Neg_1";
    assert!(findings.iter().any(|finding| finding.starts_with(expected)), "{findings:#?}");
}

#[test]
fn a_model_with_little_left_is_told() {
    let mut net = Net::new();
    let x = net.input(&[400]);
    let mut values = vec![0.0; 400 * 4];
    values[..4].fill(1.0);
    let w = net.b.initializer("w", &Tensor::from_f32(&[400, 4], &values));
    let y = net.node("MatMul", &[&x, &w], &[]);
    let y = net.dense("head", &y, 4, 3);
    let lone = net.dense("lone", &x, 400, 3);
    let lone = net.node("Mul", &[&lone, &y], &[]);
    let findings = analyzed(&net.finish(&lone, &[3])).findings;
    for expected in ["are zero already", "have 8 channels or fewer"] {
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:#?}");
    }
    let mut net = Net::new();
    let x = net.input(&[100]);
    let y = net.dense("a", &x, 100, 16);
    let y = net.dense("b", &y, 16, 200);
    let mixed = net.dense("lone", &x, 100, 200);
    let y = net.node("Add", &[&y, &mixed], &[]);
    let findings = analyzed(&net.finish(&y, &[200])).findings;
    assert!(findings[0].contains("little is left to remove by channels: only 19."), "{findings:#?}");
    assert!(findings[0].contains("it reaches the graph output"), "{findings:#?}");
}

#[test]
fn channels_that_are_zero_or_constant_on_samples_are_found() {
    let mut net = Net::new();
    let x = net.input(&[1]);
    // On x = 0 … 99: channel 0 is x, 1 is 0 throughout, 2 is 1 throughout, 3 is x ÷ 50.
    let w = net.b.initializer("w", &Tensor::from_f32(&[4, 1], &[1.0, -1.0, 0.0, 0.02]));
    let bias = net.b.initializer("bias", &Tensor::from_f32(&[4], &[0.0, 0.0, 1.0, 0.0]));
    let y = net.node("Gemm", &[&x, &w, &bias], &[("transB", Attribute::Int(1))]);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("head", &y, 4, 3);
    let model = net.finish(&y, &[3]);
    let values: Vec<f32> = (0..100_u8).map(f32::from).collect();
    let file = labelled(&[100, 1], &values, &[0; 100]);
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let calibration = Calibration::new(&dataset, &model, 80, 1).unwrap();
    let analysis = analyze(&model, &AnalyzeSpec::default(), Some(calibration.fitting()), 1).unwrap();
    let activations = analysis.report.activations.unwrap();
    let [group] = activations.groups.as_slice() else { panic!("{activations:#?}") };
    assert_eq!((activations.samples, group.group.as_str(), group.contribution), (80, "w", Some(1.0)));
    assert_eq!(group.values, ["Relu__2"]);
    assert_eq!((&group.dead, &group.near_constant, group.weak_channels), (&vec![1], &vec![2], 3));
    assert!(analysis.findings.iter().any(|finding| finding.starts_with("on 80 samples 1 channels were zero")));
}
