//! Samples with a known answer.

use super::*;
use crate::data::test_files::unlabelled;
use crate::data::{Calibration, Samples};
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::{GraphBuilder, Size};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::infer;
use crate::prune::observe::{ObserveError, observe};
use crate::prune::{drift, prune};
use crate::spec::attempt::DatasetLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, PruneRequest, Rung, Target};
use crate::spec::synthetic::{Distribution, Synthetic};

const SIZE: usize = 6;
const SAMPLES: usize = 400;

/// Numbers without a pattern.
fn numbers(count: usize, seed: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * 0.618_033_988_7 + seed).sin() * 43_758.545_3).fract() as f32).collect()
}

/// What the net meets: neighbours are alike, and channels are far from zero, each by itself.
fn real() -> Vec<f32> {
    let noise = numbers(SAMPLES * 3 * SIZE * SIZE + 2 * SIZE, 0.1);
    (0..SAMPLES * 3 * SIZE * SIZE)
        .map(|at| {
            let channel = at / (SIZE * SIZE) % 3;
            let smooth = (0..2 * SIZE).map(|by| noise[at + by]).sum::<f32>();
            [2.0, -3.0, 1.0][channel] + [0.5, 1.0, 2.0][channel] * smooth
        })
        .collect()
}

/// Three convolutions, of which two are normalised by the given means and variances, and a mean over the places.
fn net(statistics: [&[(f64, f64)]; 2]) -> (Model, [String; 2]) {
    let mut b = GraphBuilder::new("net");
    let mut x = b.input("x", DataType::Float, &["n".into(), 3.into(), SIZE.into(), SIZE.into()]);
    let mut before = Vec::new();
    let mut channels = 3;
    for (layer, kept) in statistics.into_iter().enumerate() {
        let w = b.constant(&Tensor::from_f32(&[12, channels, 3, 3], &numbers(108 * channels, 0.3 + layer as f64)));
        x = b.node("Conv", &[&x, &w], &[("pads", Attribute::Ints(vec![1; 4]))]);
        before.push(x.clone());
        let column = |value: &dyn Fn(usize) -> f32| Tensor::from_f32(&[12], &(0..12).map(value).collect::<Vec<_>>());
        let constants = [
            column(&|at| 0.5 + 0.1 * at as f32),
            column(&|at| 0.1 * at as f32 - 0.5),
            column(&|at| kept.get(at).map_or(0.0, |(mean, _)| *mean as f32)),
            column(&|at| kept.get(at).map_or(1.0, |(_, variance)| *variance as f32)),
        ]
        .map(|tensor| b.constant(&tensor));
        let [gamma, beta, mean, variance] = &constants;
        x = b.node("BatchNormalization", &[&x, gamma, beta, mean, variance], &[]);
        x = b.node("Relu", &[&x], &[]);
        channels = 12;
    }
    let w = b.constant(&Tensor::from_f32(&[4, 12, 3, 3], &numbers(432, 0.9)));
    let y = b.node("Conv", &[&x, &w], &[]);
    b.output(&y, DataType::Float, &["n".into(), 4.into(), (SIZE - 2).into(), (SIZE - 2).into()]);
    let [first, second] = before.try_into().expect("two layers");
    (b.build(17), [first, second])
}

/// Mean and variance of each channel of a value.
fn moments(model: &Model, value: &str, samples: Samples<'_>) -> Vec<(f64, f64)> {
    let mut all: Vec<Vec<f64>> = Vec::new();
    observe(model, &infer(model), &[value], samples, 1, |_, values| {
        let channels = values[0].shape[1];
        all.resize(channels, Vec::new());
        for (at, value) in values[0].to_f32().unwrap().iter().enumerate() {
            all[at / (SIZE * SIZE) % channels].push(f64::from(*value));
        }
        Ok::<_, ObserveError>(())
    })
    .unwrap();
    let moments = |values: &Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
    };
    all.iter().map(moments).collect()
}

/// A net whose normalisations keep the statistics of what it meets, with that.
fn trained(test: impl FnOnce(&Model, &str, &Calibration<'_>)) {
    let file = unlabelled(&[SAMPLES, 3, SIZE, SIZE], &real());
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let (raw, [first, second]) = net([&[], &[]]);
    let met = Calibration::new(&dataset, &raw, SAMPLES, 1).unwrap();
    let of_first = moments(&raw, &first, met.fitting());
    let of_second = moments(&net([&of_first, &[]]).0, &second, met.fitting());
    test(&net([&of_first, &of_second]).0, &second, &met);
}

fn spec(synthetic: Synthetic, recovery: Vec<Rung>) -> PruneSpec {
    let request = PruneRequest {
        target: Some(Target::ChannelsRemoved(0.4)),
        criterion: Some(Criterion::L2),
        round_to: Some(1.into()),
        calibration_samples: Some(64),
        recovery: Some(recovery),
        synthetic: Some(synthetic),
        ..PruneRequest::default()
    };
    request.parse().unwrap()
}

#[test]
fn recovery_on_made_samples_brings_the_outputs_nearer_on_those_that_the_model_meets() {
    trained(|model, _, met| {
        let error = |synthetic: &Synthetic, recovery: Vec<Rung>| {
            let spec = spec(synthetic.clone(), recovery);
            let made = make(model, &spec, 1).unwrap();
            let calibration = Calibration::new(&made.dataset, model, 64, 1).unwrap();
            let pruned = prune(model, &spec, Some(&calibration), 1, &|_| {}).unwrap();
            drift::measure(model, &pruned.model, met.held_out(), 1).unwrap().output_error
        };
        let (drawn, matched) = (Synthetic::default(), Synthetic { match_batch_norm: true, ..Synthetic::default() });
        let none = error(&drawn, Vec::new());
        let by_matched = error(&matched, vec![Rung::LeastSquares]);
        let by_drawn = error(&drawn, vec![Rung::LeastSquares]);
        eprintln!("output error: not repaired {none}, on drawn samples {by_drawn}, on matched ones {by_matched}");
        assert!(by_matched < 0.7 * none, "{by_matched} {none}");
        assert!(by_matched < by_drawn, "{by_matched} {by_drawn}");
    });
}

#[test]
fn samples_are_moved_to_the_statistics_that_the_model_keeps() {
    trained(|model, second, met| {
        let spec = spec(Synthetic { match_batch_norm: true, ..Synthetic::default() }, Vec::new());
        let made = make(model, &spec, 1).unwrap();
        let matched = made.report.batch_norm.as_ref().unwrap();
        assert_eq!((made.report.samples, made.report.seed, matched.layers), (96, 1, 2));
        assert!(matched.after < 0.5 * matched.before, "{matched:?}");
        // An oracle of its own: the moments before the second normalisation, as they are of what the model meets.
        let calibration = Calibration::new(&made.dataset, model, 64, 1).unwrap();
        let expected = moments(model, second, met.fitting());
        let found = moments(model, second, calibration.fitting());
        for ((mean, variance), (found_mean, found_variance)) in expected.iter().zip(&found) {
            assert!((found_mean - mean).abs() < 0.25 * variance.sqrt(), "{found_mean} {mean} {variance}");
            assert!((found_variance / variance).sqrt() > 0.7 && (found_variance / variance).sqrt() < 1.4);
        }
        let again = make(model, &spec, 1).unwrap();
        assert_eq!(again.report.batch_norm.unwrap().after, matched.after);
    });
}

/// A model that adds up its inputs, given by type and shape.
fn inputs(declared: &[(&str, DataType, &[Size])]) -> Model {
    let mut b = GraphBuilder::new("inputs");
    let mut sum: Option<String> = None;
    for (name, dtype, shape) in declared {
        let x = b.input(name, *dtype, shape);
        let x = b.node("Cast", &[&x], &[("to", Attribute::Int(1))]);
        sum = Some(sum.map_or(x.clone(), |sum| b.node("Add", &[&sum, &x], &[])));
    }
    let y = b.node("Relu", &[&sum.unwrap()], &[]);
    b.output(&y, DataType::Float, &["n".into(), 4.into()]);
    b.build(17)
}

#[test]
fn each_input_is_drawn_as_it_was_stated() {
    let shape: &[Size] = &["n".into(), 4.into()];
    let model = inputs(&[
        ("x", DataType::Float, shape),
        ("u", DataType::Float16, shape),
        ("labels", DataType::Int32, shape),
        ("mask", DataType::Bool, shape),
    ]);
    let stated = [
        ("u".to_owned(), Distribution::Uniform { low: 2.0, high: 3.0 }),
        ("labels".to_owned(), Distribution::Integers { from: 5, below: 7 }),
    ];
    let spec = spec(Synthetic { inputs: stated.into(), match_batch_norm: false }, Vec::new());
    let made = make(&model, &spec, 1).unwrap();
    let calibration = Calibration::new(&made.dataset, &model, 64, 1).unwrap();
    assert_eq!((calibration.fitting().len(), calibration.held_out().len()), (64, 19));
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); 4];
    for batch in calibration.fitting().batches() {
        let batch = batch.unwrap();
        assert!(batch.labels.is_empty(), "an input of that name is no label");
        for (values, (_, tensor)) in all.iter_mut().zip(&batch.inputs) {
            if tensor.dtype.is_float() {
                values.extend(tensor.to_f32().unwrap().iter().map(|value| f64::from(*value)));
            } else {
                values.extend(tensor.to_i64().unwrap().iter().map(|value| *value as f64));
            }
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let deviation = (all[0].iter().map(|value| value * value).sum::<f64>() / all[0].len() as f64).sqrt();
    assert!(mean(&all[0]).abs() < 0.2 && (deviation - 1.0).abs() < 0.2, "{deviation}");
    assert!(all[1].iter().all(|value| (2.0..=3.0).contains(value)) && (mean(&all[1]) - 2.5).abs() < 0.1);
    assert!([5.0, 6.0].iter().all(|number| all[2].contains(number)) && all[2].iter().all(|n| (5.0..=6.0).contains(n)));
    assert!([0.0, 1.0].iter().all(|number| all[3].contains(number)));
}

#[test]
fn what_cannot_be_made_is_refused_with_its_place() {
    let open: &[Size] = &["n".into(), "length".into()];
    let fixed: &[Size] = &["n".into(), 4.into()];
    let stated = |name: &str, distribution: Distribution| Synthetic {
        inputs: [(name.to_owned(), distribution)].into(),
        match_batch_norm: false,
    };
    let matched = Synthetic { match_batch_norm: true, ..Synthetic::default() };
    let below = |below| Distribution::Integers { from: 0, below };
    let normal = Distribution::Normal { mean: 0.0, std: 1.0 };
    let at = |field: &str| format!("/spec/{field}");
    for (dtype, shape, synthetic, place, reason) in [
        (DataType::Int64, fixed, Synthetic::default(), at("synthetic/inputs/a~1b"), "say from which numbers"),
        (DataType::Int64, fixed, stated("a/b", normal.clone()), at("synthetic/inputs/a~1b"), "give `integers`"),
        (DataType::Int8, fixed, stated("a/b", below(1000)), at("synthetic/inputs/a~1b"), "does not hold"),
        (DataType::Float, fixed, stated("z", normal), at("synthetic/inputs/z"), "it has `a/b`"),
        (DataType::Float, open, Synthetic::default(), at("example_shapes"), "axis `length` of the input `a/b`"),
        (DataType::Float, fixed, matched, at("synthetic/match_batch_norm"), "no BatchNormalization"),
    ] {
        let error = make(&inputs(&[("a/b", dtype, shape)]), &spec(synthetic, Vec::new()), 1).unwrap_err();
        let failure = Failure::from(crate::prune::PruneError::from(error));
        assert_eq!((failure.code, failure.place), (FailureCode::InvalidSpec, Some(place)), "{}", failure.message);
        assert!(failure.message.contains(reason), "{}", failure.message);
    }
    let mut sized = spec(Synthetic::default(), Vec::new());
    sized.example_shapes = [("x".to_owned(), vec![1, 9])].into();
    let made = make(&inputs(&[("x", DataType::Float, open)]), &sized, 1).unwrap();
    assert_eq!(made.report.inputs[0].sample_shape, [9]);
}
