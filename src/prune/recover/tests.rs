//! Repairs with a known answer.

use super::*;
use crate::data::Dataset;
use crate::data::test_files::{TestFile, labelled};
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::GraphBuilder;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;
use crate::prune::observe::{ObserveError, observe};
use crate::prune::surgery::{AxisCut, TensorCut, apply_plan};
use crate::spec::attempt::DatasetLimits;

const SIZE: usize = 4;
const SAMPLES: usize = 400;
/// Weights of `b` that are zero where zeros have to stay.
const ZEROS: usize = 10;

/// Numbers without a pattern that a fit could miss: the fractional parts of multiples of irrational numbers.
fn numbers(count: usize, seed: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * 0.618_033_988_7 + seed).sin() * 43_758.545_3).fract() as f32).collect()
}

fn samples() -> TestFile {
    labelled(&[SAMPLES, 3, SIZE, SIZE], &numbers(SAMPLES * 3 * SIZE * SIZE, 0.1), &vec![0; SAMPLES])
}

/// `a` gives four channels of which the last is twice the first minus the third; `b` sums them up. Nothing bends between
/// them, so that a cut of the last channel can be made good.
struct Net {
    model: Model,
    output: String,
}

fn net(normalised: bool) -> Net {
    let mut b = GraphBuilder::new("net");
    let shape = |channels: usize| ["n".into(), channels.into(), SIZE.into(), SIZE.into()];
    let x = b.input("x", DataType::Float, &shape(3));
    let mut first = numbers(3 * 3 * 9, 0.3);
    let last: Vec<f32> = (0..27).map(|at| 2.0 * first[at] - first[54 + at]).collect();
    first.extend(last);
    let w = b.initializer("a", &Tensor::from_f32(&[4, 3, 3, 3], &first));
    let pads = [("pads", Attribute::Ints(vec![1, 1, 1, 1]))];
    let mut hidden = b.node("Conv", &[&x, &w], &pads);
    if normalised {
        let constants: Vec<String> = [("gamma", 1.5), ("beta", 0.2), ("mean", 0.1), ("variance", 2.0)]
            .map(|(name, value)| b.initializer(name, &Tensor::from_f32(&[4], &[value; 4])))
            .to_vec();
        hidden =
            b.node("BatchNormalization", &[&hidden, &constants[0], &constants[1], &constants[2], &constants[3]], &[]);
    }
    let w = b.initializer("b", &Tensor::from_f32(&[2, 4, 3, 3], &numbers(2 * 4 * 9, 0.7)));
    let bias = b.initializer("b.bias", &Tensor::from_f32(&[2], &[0.5, -0.5]));
    let output = b.node("Conv", &[&hidden, &w, &bias], &pads);
    b.output(&output, DataType::Float, &shape(2));
    Net { model: b.build(17), output }
}

/// The plan that removes the last of the four channels.
fn plan(normalised: bool) -> Plan {
    let cut = |tensor: &str, axis: usize| TensorCut {
        tensor: tensor.to_owned(),
        becomes: tensor.to_owned(),
        axes: vec![AxisCut { axis, size: 4, removed: vec![3] }],
        ..TensorCut::default()
    };
    let mut tensors = vec![cut("a", 0), cut("b", 1)];
    if normalised {
        tensors.extend(["gamma", "beta", "mean", "variance"].map(|name| cut(name, 0)));
    }
    Plan { tensors, ..Plan::default() }
}

/// Recovers the cut net and hands it, its report and the calibration to the test.
fn recovered(
    normalised: bool,
    rung: Rung,
    keep_zeros: bool,
    test: impl FnOnce(&Net, &Model, &RecoveryReport, &Calibration<'_>),
) {
    recovered_from(&net(normalised), &plan(normalised), rung, keep_zeros, test);
}

fn recovered_from(
    net: &Net,
    plan: &Plan,
    rung: Rung,
    keep_zeros: bool,
    test: impl FnOnce(&Net, &Model, &RecoveryReport, &Calibration<'_>),
) {
    let mut cut = apply_plan(&net.model, plan).unwrap();
    if keep_zeros {
        change::change(&mut cut, "b", |weights| weights[..ZEROS].fill(0.0)).unwrap();
    }
    let inferred = crate::onnx::shape::infer(&net.model);
    let file = samples();
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let calibration = Calibration::new(&dataset, &net.model, 256, 1).unwrap();
    let recovery = Recovery {
        original: &net.model,
        inferred: &inferred,
        calibration: &calibration,
        plan: Some(plan),
        keep_zeros,
        threads: 1,
        seed: 1,
    };
    let (model, reports) = recovery.climb(cut, &[rung]).unwrap();
    test(net, &model, &reports[0], &calibration);
}

/// Mean and variance of each channel of a value over the samples that were fitted to.
fn moments(model: &Model, value: &str, calibration: &Calibration<'_>) -> Vec<(f64, f64)> {
    let inferred = crate::onnx::shape::infer(model);
    let mut channels: Vec<Vec<f64>> = Vec::new();
    observe(model, &inferred, &[value], calibration.fitting(), 1, |_, values| {
        let count = values[0].shape[1];
        channels.resize(count, Vec::new());
        for (at, value) in values[0].to_f32().unwrap().iter().enumerate() {
            channels[at / (SIZE * SIZE) % count].push(f64::from(*value));
        }
        Ok::<_, ObserveError>(())
    })
    .unwrap();
    let moments = |values: &Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
    };
    channels.iter().map(moments).collect()
}

#[test]
fn least_squares_makes_good_a_channel_that_is_a_combination_of_others() {
    for normalised in [false, true] {
        recovered(normalised, Rung::LeastSquares, false, |_, _, report, _| {
            assert!(report.before.output_error > 0.2, "{report:?}");
            // The damping keeps a thousandth of what is lacking.
            assert!(report.after.output_error < 5e-3 && report.kept, "{report:?}");
            let layers: Vec<&str> = report.layers.iter().map(|layer| layer.layer.as_str()).collect();
            assert_eq!((layers.len(), report.skipped.len()), (1, 0), "the first convolution lacks nothing: {report:?}");
        });
    }
}

/// Two products whose matrices are turned before they are used, as exports from TensorFlow have them; a weight of bytes
/// and one behind a Cast.
fn turned() -> Net {
    let mut b = GraphBuilder::new("net");
    let x = b.input("x", DataType::Float, &["n".into(), 3.into(), SIZE.into(), SIZE.into()]);
    let flat = b.node("Flatten", &[&x], &[]);
    let mut first = numbers(3 * 48, 0.3);
    let last: Vec<f32> = (0..48).map(|at| 2.0 * first[at] - first[96 + at]).collect();
    first.extend(last);
    let dense = |b: &mut GraphBuilder, x: &str, name: &str, shape: [usize; 2], values: &[f32]| {
        let w = b.initializer(name, &Tensor::from_f32(&shape, values));
        let w = b.node("Transpose", &[&w], &[("perm", Attribute::Ints(vec![1, 0]))]);
        b.node("MatMul", &[x, &w], &[])
    };
    let hidden = dense(&mut b, &flat, "a", [4, 48], &first);
    let y = dense(&mut b, &hidden, "b", [2, 4], &numbers(8, 0.7));
    let w = b.initializer("cast", &Tensor::from_f32(&[2, 2], &[1.0, 0.5, -0.5, 1.0]));
    let w = b.node("Cast", &[&w], &[("to", Attribute::Int(1))]);
    let y = b.node("MatMul", &[&y, &w], &[]);
    let bytes = Tensor::from_bytes(DataType::Int8, &[2, 2], vec![1, 0, 0, 1].into()).unwrap();
    let (w, scale) = (b.initializer("bytes", &bytes), b.constant(&Tensor::from_f32(&[], &[0.5])));
    let w = b.node("DequantizeLinear", &[&w, &scale], &[]);
    let output = b.node("MatMul", &[&y, &w], &[]);
    b.output(&output, DataType::Float, &["n".into(), 2.into()]);
    Net { model: b.build(17), output }
}

#[test]
fn a_matrix_behind_a_transpose_is_repaired_and_weights_behind_other_operators_are_named() {
    let cut = |tensor: &str, axis: usize| TensorCut {
        tensor: tensor.to_owned(),
        becomes: tensor.to_owned(),
        axes: vec![AxisCut { axis, size: 4, removed: vec![3] }],
        ..TensorCut::default()
    };
    let plan = Plan { tensors: vec![cut("a", 0), cut("b", 1)], ..Plan::default() };
    recovered_from(&turned(), &plan, Rung::LeastSquares, false, |_, _, report, _| {
        assert!(report.before.output_error > 0.1, "{report:?}");
        assert!(report.after.output_error < 5e-3 && report.kept, "{report:?}");
        let skipped: Vec<(&str, &str)> =
            report.skipped.iter().map(|skipped| (skipped.what.as_str(), skipped.reason.as_str())).collect();
        let [(cast, of_cast), (bytes, of_bytes)] = skipped[..] else { panic!("{skipped:?}") };
        assert!(cast == "cast" && of_cast.contains("Cast"), "{of_cast}");
        assert!(bytes == "bytes" && of_bytes.contains("int8"), "{of_bytes}");
    });
}

#[test]
fn least_squares_keeps_zeros_where_they_have_to_stay() {
    recovered(false, Rung::LeastSquares, true, |_, model, report, _| {
        assert!(report.kept && report.after.output_error < 0.9 * report.before.output_error, "{report:?}");
        let weights = change::constant(model, "b").unwrap().to_f32().unwrap().into_owned();
        assert!(weights[..ZEROS].iter().all(|weight| *weight == 0.0));
        assert!(weights[ZEROS..].iter().all(|weight| *weight != 0.0));
    });
}

#[test]
fn corrected_biases_give_the_means_of_the_original() {
    recovered(false, Rung::Bias, false, |net, model, report, calibration| {
        assert_eq!(report.layers.len(), 2, "{report:?}");
        let (expected, found) =
            (moments(&net.model, &net.output, calibration), moments(model, &net.output, calibration));
        for ((expected, _), (found, _)) in expected.iter().zip(&found) {
            assert!((expected - found).abs() < 1e-5, "{expected} {found}");
        }
    });
}

#[test]
fn statistics_are_those_of_the_cut_network_over_all_samples() {
    recovered(true, Rung::BatchNorm, false, |net, _, report, calibration| {
        let input = net.model.graph_proto().node[0].output[0].clone();
        let expected = moments(&net.model, &input, calibration);
        let cut = apply_plan(&net.model, &plan(true)).unwrap();
        let inferred = crate::onnx::shape::infer(&net.model);
        let recovery = Recovery {
            original: &net.model,
            inferred: &inferred,
            calibration,
            plan: None,
            keep_zeros: false,
            threads: 1,
            seed: 1,
        };
        let mut model = cut;
        batch_norm::estimate(&recovery, &mut model).unwrap();
        let read = |name: &str| change::constant(&model, name).unwrap().to_f32().unwrap().into_owned();
        for (channel, (mean, variance)) in read("mean").iter().zip(read("variance")).enumerate() {
            let (expected_mean, expected_variance) = expected[channel];
            assert!((f64::from(*mean) - expected_mean).abs() < 1e-5, "{channel}: {mean} {expected_mean}");
            assert!((f64::from(variance) / expected_variance - 1.0).abs() < 1e-5, "{channel}: {variance}");
        }
        assert_eq!(report.layers.len(), 1);
    });
}

#[test]
fn a_rung_that_finds_nothing_to_do_says_so_and_changes_nothing() {
    recovered(false, Rung::BatchNorm, false, |_, _, report, _| {
        assert!(!report.kept && report.skipped[0].reason.contains("no BatchNormalization"), "{report:?}");
        assert_eq!(report.before, report.after);
    });
}
