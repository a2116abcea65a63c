//! Criteria, reductions and normalisers on graphs, against values computed here from the weights alone.

use super::*;
use crate::data::test_files::labelled;
use crate::data::{Calibration, Dataset};
use crate::onnx::shape::infer;
use crate::prune::coupling::{Wishes, couple};
use crate::prune::importance::{Evidence, ImportanceError, Scores, Scoring};
use crate::spec::attempt::DatasetLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, Normalizer, Reduction};

/// `x [n, 4] → a [6, 4] → Relu → b [3, 6] → y`: one group of six neurons.
fn dense() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 6);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("b", &y, 6, 3);
    net.finish(&y, &[3])
}

fn scored(
    model: &Model,
    criterion: Criterion,
    normalizer: Normalizer,
    reduction: Reduction,
) -> Result<Scores, ImportanceError> {
    let graph = model.graph();
    let coupling = couple(model, &graph, &infer(model), &Wishes::default()).unwrap();
    Scoring { criterion, normalizer, reduction, seed: 3 }.scores(&graph, &coupling, None)
}

fn plain(model: &Model, criterion: Criterion, reduction: Reduction) -> Vec<f64> {
    scored(model, criterion, Normalizer::None, reduction).unwrap().of_units
}

fn values(model: &Model, name: &str) -> Vec<f64> {
    model.graph().constant(name).unwrap().unwrap().to_f32().unwrap().iter().map(|value| f64::from(*value)).collect()
}

/// Of each neuron the weights that write it and those that read it.
fn neurons(model: &Model) -> Vec<(Vec<f64>, Vec<f64>)> {
    let (a, b) = (values(model, "a"), values(model, "b"));
    (0..6).map(|at| (a[at * 4..at * 4 + 4].to_vec(), (0..3).map(|row| b[row * 6 + at]).collect())).collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "unit {at}: {found} and not {expected}");
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn magnitudes_are_those_of_all_weights_that_go_with_a_neuron() {
    let model = dense();
    let expected = |figure: &dyn Fn(&mut dyn Iterator<Item = f64>) -> f64| -> Vec<f64> {
        neurons(&model).iter().map(|(a, b)| figure(&mut a.iter().chain(b).copied())).collect()
    };
    let l1 = expected(&|weights| mean(weights.map(f64::abs)));
    close(&plain(&model, Criterion::L1, Reduction::Pooled), &l1);
    let l2 = expected(&|weights| mean(weights.map(|w| w * w)).sqrt());
    close(&plain(&model, Criterion::L2, Reduction::Pooled), &l2);
    let squares = expected(&|weights| mean(weights.map(|w| w * w)));
    let lamp: Vec<f64> = squares.iter().map(|s| s / squares.iter().filter(|t| *t >= s).sum::<f64>()).collect();
    close(&plain(&model, Criterion::Lamp, Reduction::Pooled), &lamp);
    let drawn = plain(&model, Criterion::Random, Reduction::Pooled);
    assert_eq!(drawn, plain(&model, Criterion::Random, Reduction::Sum));
    assert!(drawn.iter().all(|score| *score > 0.0 && *score <= 1.0) && drawn[0] != drawn[1]);
}

#[test]
fn layers_that_write_and_read_a_neuron_are_reduced_as_asked() {
    let model = dense();
    let l1 = |weights: &[f64]| mean(weights.iter().map(|w| w.abs()));
    let expected = |reduce: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        neurons(&model).iter().map(|(a, b)| reduce(l1(a), l1(b))).collect()
    };
    close(&plain(&model, Criterion::L1, Reduction::Sum), &expected(&|a, b| a + b));
    close(&plain(&model, Criterion::L1, Reduction::Mean), &expected(&|a, b| f64::midpoint(a, b)));
    close(&plain(&model, Criterion::L1, Reduction::Max), &expected(&f64::max));
    close(&plain(&model, Criterion::L1, Reduction::Producer), &expected(&|a, _| a));
}

#[test]
fn distances_are_those_between_the_weights_of_neurons() {
    let model = dense();
    let rows: Vec<Vec<f64>> = neurons(&model).into_iter().map(|(a, b)| [a, b].concat()).collect();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let expected: Vec<f64> =
        rows.iter().map(|a| rows.iter().map(|b| distance(a, b)).sum::<f64>() / 6.0 / 7.0_f64.sqrt()).collect();
    close(&plain(&model, Criterion::Fpgm, Reduction::Pooled), &expected);
}

/// A filter between two others goes first, though it is larger than one of them: norms see size, distances redundancy.
#[test]
fn distances_take_what_lies_between_others_and_not_what_is_small() {
    let mut net = Net::new();
    let x = net.input(&[2]);
    let w = net.b.initializer("w", &Tensor::from_f32(&[3, 2], &[0.1, 0.0, 1.0, 0.2, 2.0, 0.0]));
    let y = net.node("Gemm", &[&x, &w], &[("transB", Attribute::Int(1))]);
    let v = net.b.initializer("v", &Tensor::from_f32(&[3, 2], &[0.0; 6]));
    let y = net.node("MatMul", &[&y, &v], &[]);
    let model = net.finish(&y, &[2]);
    let first = |criterion| {
        let scores = plain(&model, criterion, Reduction::Producer);
        (0..3).min_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
    };
    assert_eq!((first(Criterion::L2), first(Criterion::Fpgm)), (0, 1));
}

/// Two convolutions that a normalisation each follows, or not.
fn convolutions(normalized: [bool; 2]) -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let mut y = net.conv("a", &x, 3, 6);
    for (name, next, follows) in [("a", "b", normalized[0]), ("b", "c", normalized[1])] {
        if follows {
            let scale = net.weight(&format!("{name}.scale"), &[6]);
            let others = ["shift", "mean", "variance"].map(|what| net.positive(&format!("{name}.{what}"), &[6]));
            y = net.node("BatchNormalization", &[&y, &scale, &others[0], &others[1], &others[2]], &[]);
        }
        y = net.node("Relu", &[&y], &[]);
        y = net.conv(next, &y, 6, 6);
    }
    net.finish(&y, &[6, 5, 5])
}

#[test]
fn scales_are_those_of_the_normalisation_that_follows() {
    let model = convolutions([true, true]);
    let scores = scored(&model, Criterion::BnScale, Normalizer::None, Reduction::Pooled).unwrap();
    let expected: Vec<f64> =
        [values(&model, "a.scale"), values(&model, "b.scale")].concat().iter().map(|s| s.abs()).collect();
    close(&scores.of_units, &expected);
    assert!(scores.notes.is_empty(), "{:?}", scores.notes);
}

#[test]
fn a_group_without_a_normalisation_is_scored_by_its_weights_and_told() {
    let model = convolutions([true, false]);
    let scores = scored(&model, Criterion::BnScale, Normalizer::Mean, Reduction::Pooled).unwrap();
    let by_weight = scored(&model, Criterion::L2, Normalizer::Mean, Reduction::Pooled).unwrap();
    let scale: Vec<f64> = values(&model, "a.scale").iter().map(|scale| scale.abs()).collect();
    let mean = mean(scale.iter().copied());
    close(&scores.of_units[..6], &scale.iter().map(|scale| scale / mean).collect::<Vec<_>>());
    close(&scores.of_units[6..], &by_weight.of_units[6..]);
    assert!(scores.notes.len() == 1 && scores.notes[0].contains("no BatchNormalization: `b`"), "{:?}", scores.notes);
    let pruned = prune(&model, &PruneSpec { criterion: Criterion::BnScale, ..half() }, None, 1, &|_| {}).unwrap();
    assert!(pruned.report.notes.iter().any(|note| note.contains("no BatchNormalization: `b`")));
}

#[test]
fn a_model_without_normalisations_is_refused_by_their_scale() {
    let model = convolutions([false, false]);
    let spec = PruneSpec { criterion: Criterion::BnScale, ..half() };
    let failure = Failure::from(prune(&model, &spec, None, 1, &|_| {}).unwrap_err());
    assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::InvalidSpec, Some("/spec/criterion")));
}

/// Completeness: whoever adds a criterion gets it certified here, with every reduction and normaliser.
#[test]
fn every_criterion_cuts_with_every_reduction_and_normalizer() {
    let model = convolutions([true, true]);
    for criterion in Criterion::ALL.into_iter().filter(|criterion| !criterion.needs_data()) {
        for reduction in Reduction::ALL {
            for normalizer in Normalizer::ALL {
                let spec = PruneSpec { criterion, normalizer, reduction, ..half() };
                let (cut, _) = cut_without_certificate(&model, &spec)
                    .unwrap_or_else(|error| panic!("{criterion:?} {reduction:?} {normalizer:?}: {error}"));
                let scores = scored(&model, criterion, normalizer, reduction).unwrap().of_units;
                assert!(scores.iter().all(|score| score.is_finite()), "{criterion:?} {reduction:?} {normalizer:?}");
                let left = ["a", "b"].map(|name| cut.graph().initializer(name).unwrap().dims[0]);
                assert_eq!(left.iter().sum::<i64>(), 6, "{criterion:?} {reduction:?} {normalizer:?}");
            }
        }
    }
}

/// Samples of the input of [`dense`], and what its neurons do on those that are fitted to, computed here.
fn on_samples(check: impl FnOnce(&Model, &Calibration<'_>, &[Vec<f64>], &[Vec<f64>])) {
    let model = dense();
    let rows: Vec<f32> = (0..40 * 4).map(|at| ((at * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let file = labelled(&[40, 4], &rows, &[0; 40]);
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let calibration = Calibration::new(&dataset, &model, 20, 1).unwrap();
    let mut inputs = Vec::new();
    for batch in calibration.fitting().batches() {
        let values: Vec<f64> =
            batch.unwrap().inputs[0].1.to_f32().unwrap().iter().map(|value| f64::from(*value)).collect();
        inputs.extend(values.chunks(4).map(<[f64]>::to_vec));
    }
    let (bias, neurons) = (values(&model, "a.bias"), neurons(&model));
    let neuron =
        |x: &Vec<f64>, at: usize| (bias[at] + x.iter().zip(&neurons[at].0).map(|(x, w)| x * w).sum::<f64>()).max(0.0);
    let hidden: Vec<Vec<f64>> = inputs.iter().map(|x| (0..6).map(|at| neuron(x, at)).collect()).collect();
    assert_eq!(inputs.len(), 20);
    check(&model, &calibration, &inputs, &hidden);
}

fn observed(model: &Model, calibration: &Calibration<'_>, criterion: Criterion) -> Vec<f64> {
    let (graph, inferred) = (model.graph(), infer(model));
    let coupling = couple(model, &graph, &inferred, &Wishes::default()).unwrap();
    let evidence = Evidence { model, inferred: &inferred, samples: calibration.fitting(), threads: 1 };
    let scoring = Scoring { criterion, normalizer: Normalizer::None, reduction: Reduction::Pooled, seed: 3 };
    let scores = scoring.scores(&graph, &coupling, Some(&evidence)).unwrap();
    assert!(scores.notes.is_empty(), "{:?}", scores.notes);
    scores.of_units
}

#[test]
fn activations_are_those_that_the_next_layer_reads() {
    on_samples(|model, calibration, _, hidden| {
        let expected = |figure: &dyn Fn(f64) -> f64| -> Vec<f64> {
            (0..6).map(|at| mean(hidden.iter().map(|row| figure(row[at])))).collect()
        };
        close(&observed(model, calibration, Criterion::ActivationMean), &expected(&f64::abs));
        close(&observed(model, calibration, Criterion::Apoz), &expected(&|x| f64::from(u8::from(x > 0.0))));
    });
}

#[test]
fn weights_count_by_the_activations_that_they_meet() {
    on_samples(|model, calibration, inputs, hidden| {
        let norm = |rows: &[Vec<f64>], at: usize| mean(rows.iter().map(|row| row[at] * row[at])).sqrt();
        let expected: Vec<f64> = (neurons(model).iter().enumerate())
            .map(|(at, (writes, reads))| {
                let writes = writes.iter().enumerate().map(|(input, w)| w.abs() * norm(inputs, input));
                let reads = reads.iter().map(|w| w.abs() * norm(hidden, at));
                mean(writes.chain(reads))
            })
            .collect();
        close(&observed(model, calibration, Criterion::Wanda), &expected);
    });
}

#[test]
fn convolutions_are_cut_by_what_they_do_on_samples_with_a_certificate() {
    let model = convolutions([true, false]);
    let rows: Vec<f32> = (0..40 * 75).map(|at| ((at * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let file = labelled(&[40, 3, 5, 5], &rows, &[0; 40]);
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let calibration = Calibration::new(&dataset, &model, 20, 1).unwrap();
    for criterion in Criterion::ALL.into_iter().filter(|criterion| criterion.needs_data()) {
        for reduction in Reduction::ALL {
            let spec = PruneSpec { criterion, reduction, dry_run: reduction != Reduction::Pooled, ..half() };
            let pruned = prune(&model, &spec, Some(&calibration), 1, &|_| {}).unwrap();
            let kept: u64 = pruned.report.groups.iter().map(|group| group.width_after).sum();
            assert_eq!((kept, pruned.report.certificate.is_some_and(|proof| proof.passed)), (6, !spec.dry_run));
            // Criteria by gradients say which loss they are of.
            let notes = usize::from(matches!(criterion, Criterion::Taylor | Criterion::Fisher));
            assert_eq!(pruned.report.notes.len(), notes, "{criterion:?}: {:?}", pruned.report.notes);
        }
        let failure = Failure::from(prune(&model, &PruneSpec { criterion, ..half() }, None, 1, &|_| {}).unwrap_err());
        assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::DatasetRequired, Some("/dataset_id")));
    }
}
