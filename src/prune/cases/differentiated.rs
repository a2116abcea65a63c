//! Criteria by gradients, against differences of a loss that is computed here, in 64 bits and without a graph.

use super::*;
use crate::data::test_files::{TestFile, labelled, unlabelled};
use crate::data::{Calibration, Dataset};
use crate::spec::attempt::DatasetLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, Method, Normalizer, Reduction, Scope};

const SAMPLES: usize = 50;

/// `x [n, 4] → a [6, 4] → Relu → b [3, 6] → y`, with a Softmax behind it where asked for.
fn dense(softmax: bool) -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 6);
    let y = net.node("Relu", &[&y], &[]);
    let mut y = net.dense("b", &y, 6, 3);
    if softmax {
        y = net.node("Softmax", &[&y], &[("axis", Attribute::Int(1))]);
    }
    net.finish(&y, &[3])
}

fn file(with_labels: bool) -> TestFile {
    let rows: Vec<f32> = (0..SAMPLES * 4).map(|at| ((at * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let labels: Vec<i64> = (0..SAMPLES as i64).map(|at| at * 7 % 3).collect();
    if with_labels { labelled(&[SAMPLES, 4], &rows, &labels) } else { unlabelled(&[SAMPLES, 4], &rows) }
}

fn calibrated<T>(model: &Model, file: &TestFile, with: impl FnOnce(&Calibration<'_>) -> T) -> T {
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    with(&Calibration::new(&dataset, model, 40, 1).unwrap())
}

/// The numbers of [`dense`]: weights and biases of both layers.
#[derive(Clone)]
struct Numbers([Vec<f64>; 4]);

impl Numbers {
    fn of(model: &Model) -> Self {
        let read = |name: &str| {
            let tensor = model.graph().constant(name).unwrap().unwrap();
            tensor.to_f32().unwrap().iter().map(|value| f64::from(*value)).collect()
        };
        Self(["a", "a.bias", "b", "b.bias"].map(read))
    }

    /// The weights of a neuron times a number.
    fn scaled(&self, neuron: usize, by: f64) -> Self {
        let mut scaled = self.clone();
        scaled.0[0][neuron * 4..neuron * 4 + 4].iter_mut().for_each(|weight| *weight *= by);
        (0..3).for_each(|row| scaled.0[2][row * 6 + neuron] *= by);
        scaled
    }

    /// Cross-entropy with the label, or half of the squared norm of the output without one.
    fn loss(&self, x: &[f32], label: Option<i64>) -> f64 {
        let [a, a_bias, b, b_bias] = &self.0;
        let dot = |w: &[f64], x: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let hidden: Vec<f64> = (0..6).map(|at| (dot(&a[at * 4..at * 4 + 4], &x) + a_bias[at]).max(0.0)).collect();
        let y: Vec<f64> = (0..3).map(|at| dot(&b[at * 6..at * 6 + 6], &hidden) + b_bias[at]).collect();
        match label {
            Some(label) => y.iter().map(|y| y.exp()).sum::<f64>().ln() - y[label as usize],
            None => y.iter().map(|y| y * y).sum::<f64>() / 2.0,
        }
    }
}

/// The mean over gradients of the squared difference quotient of the loss, where `moved` makes numbers with a step.
fn expected(calibration: &Calibration<'_>, criterion: Criterion, moved: &dyn Fn(f64) -> Numbers) -> f64 {
    const STEP: f64 = 1e-5;
    let (up, down) = (moved(STEP), moved(-STEP));
    let mut squares = Vec::new();
    for batch in calibration.fitting().batches() {
        let batch = batch.unwrap();
        let rows = batch.inputs[0].1.to_f32().unwrap().into_owned();
        let changes: Vec<f64> = (rows.chunks(4).enumerate())
            .map(|(at, x)| {
                let label = batch.labels.get(at).copied();
                (up.loss(x, label) - down.loss(x, label)) / (2.0 * STEP)
            })
            .collect();
        if criterion == Criterion::Taylor {
            squares.push((changes.iter().sum::<f64>() / changes.len() as f64).powi(2));
        } else {
            squares.extend(changes.iter().map(|change| change * change));
        }
    }
    squares.iter().sum::<f64>() / squares.len() as f64
}

fn close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-4 * expected.abs() + 1e-7, "{what}: {found} and not {expected}");
}

fn scores(model: &Model, calibration: &Calibration<'_>, criterion: Criterion) -> importance::Scores {
    let (graph, inferred) = (model.graph(), crate::onnx::shape::infer(model));
    let coupling = coupling::couple(model, &graph, &inferred, &coupling::Wishes::default()).unwrap();
    let evidence = importance::Evidence { model, inferred: &inferred, samples: calibration.fitting(), threads: 1 };
    let (normalizer, reduction) = (Normalizer::None, Reduction::Pooled);
    let scoring = importance::Scoring { criterion, normalizer, reduction, seed: 3 };
    scoring.scores(&graph, &coupling, Some(&evidence)).unwrap()
}

#[test]
fn a_neuron_counts_by_what_the_loss_changes_by_when_it_shrinks() {
    // Two batches, of 32 and 8 samples; a Softmax is looked through.
    for (softmax, labels) in [(false, true), (true, true), (false, false)] {
        let (model, file) = (dense(softmax), file(labels));
        let numbers = Numbers::of(&model);
        calibrated(&model, &file, |calibration| {
            for criterion in [Criterion::Taylor, Criterion::Fisher] {
                let found = scores(&model, calibration, criterion);
                let loss = if labels { "the dataset's labels" } else { "for " };
                assert!(found.notes.len() == 1 && found.notes[0].contains(loss), "{:?}", found.notes);
                if !labels && criterion == Criterion::Fisher {
                    assert!(found.notes[0].contains("drawn from it"), "{:?}", found.notes);
                    continue;
                }
                for (neuron, found) in found.of_units.iter().enumerate() {
                    let expected = expected(calibration, criterion, &|step| numbers.scaled(neuron, 1.0 + step));
                    close(*found, expected, &format!("{criterion:?}, labels {labels}, neuron {neuron}"));
                }
            }
        });
    }
}

#[test]
fn labels_that_are_drawn_give_the_expectation_over_the_models_own_scores() {
    let (model, file) = (dense(false), file(false));
    let numbers = Numbers::of(&model);
    calibrated(&model, &file, |calibration| {
        let found = scores(&model, calibration, Criterion::Fisher);
        let mut rows = Vec::new();
        for batch in calibration.fitting().batches() {
            rows.extend(batch.unwrap().inputs[0].1.to_f32().unwrap().chunks(4).map(<[f32]>::to_vec));
        }
        let change = |neuron: usize, x: &[f32], label: i64| {
            let at = |step: f64| numbers.scaled(neuron, 1.0 + step).loss(x, Some(label));
            (at(1e-5) - at(-1e-5)) / 2e-5
        };
        // Summed over neurons, for a draw a sample says little of a single one.
        let expected: f64 = (0..6)
            .flat_map(|neuron| rows.iter().map(move |x| (neuron, x)))
            .map(|(neuron, x)| {
                (0..3).map(|y| (-numbers.loss(x, Some(y))).exp() * change(neuron, x, y).powi(2)).sum::<f64>()
            })
            .sum::<f64>()
            / rows.len() as f64;
        let found: f64 = found.of_units.iter().sum();
        assert!(found > 0.5 * expected && found < 2.0 * expected, "{found} {expected}");
    });
}

#[test]
fn single_weights_go_that_the_loss_changes_least_by() {
    let (model, file) = (dense(false), file(true));
    let numbers = Numbers::of(&model);
    calibrated(&model, &file, |calibration| {
        for criterion in [Criterion::Taylor, Criterion::Fisher] {
            let spec = PruneRequest {
                method: Method::Unstructured,
                criterion: Some(criterion),
                target: Some(Target::Sparsity(0.5)),
                ..PruneRequest::default()
            };
            let pruned = prune(&model, &spec.parse().unwrap(), Some(calibration), 1, &|_| {}).unwrap();
            let left = Numbers::of(&pruned.model);
            let (mut gone, mut kept) = (0.0_f64, f64::INFINITY);
            for (layer, at) in (0..24).map(|at| (0, at)).chain((0..18).map(|at| (2, at))) {
                let moved = |step: f64| {
                    let mut numbers = numbers.clone();
                    numbers.0[layer][at] *= 1.0 + step;
                    numbers
                };
                let score = expected(calibration, criterion, &moved);
                if left.0[layer][at] == 0.0 { gone = gone.max(score) } else { kept = kept.min(score) }
            }
            assert!(gone <= kept * (1.0 + 1e-4) + 1e-9, "{criterion:?}: {gone} went and {kept} stayed");
            assert_eq!(pruned.report.removed, 0.5);
        }
    });
}

#[test]
fn what_has_no_gradient_is_named_with_its_operator_and_scored_by_its_norm() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 6);
    let y = net.dense("b", &y, 6, 5);
    let y = net.node("Ceil", &[&y], &[]);
    let y = net.dense("c", &y, 5, 4);
    let y = net.dense("d", &y, 4, 3);
    let model = net.finish(&y, &[3]);
    calibrated(&model, &file(true), |calibration| {
        let found = scores(&model, calibration, Criterion::Taylor);
        let notes = found.notes.join("\n");
        assert!(notes.contains("`a` has no gradient: its gradient would pass through Ceil"), "{notes}");
        assert!(notes.contains("scored by the norm of their weights"), "{notes}");
        assert!(found.of_units.iter().all(|score| *score > 0.0));
    });
}

#[test]
fn a_model_that_passes_no_gradient_on_is_refused_by_name() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 6);
    let y = net.dense("b", &y, 6, 3);
    let y = net.node("Ceil", &[&y], &[]);
    let model = net.finish(&y, &[3]);
    calibrated(&model, &file(true), |calibration| {
        let spec = PruneSpec { criterion: Criterion::Taylor, ..half() };
        let failure = Failure::from(prune(&model, &spec, Some(calibration), 1, &|_| {}).unwrap_err());
        assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::Unsupported, Some("/spec/criterion")));
        assert!(failure.message.contains("Ceil"), "{failure}");
    });
}

#[test]
fn weights_of_each_output_compete_by_the_activations_that_they_meet() {
    let (model, file) = (dense(false), file(true));
    calibrated(&model, &file, |calibration| {
        let spec = |scope| {
            let (method, criterion, target) = (Method::Unstructured, Criterion::Wanda, Some(Target::Sparsity(0.5)));
            let request = PruneRequest { method, criterion: Some(criterion), scope, target, ..PruneRequest::default() };
            prune(&model, &request.parse().unwrap(), Some(calibration), 1, &|_| {}).unwrap()
        };
        let mut squares = [0.0; 4];
        for batch in calibration.fitting().batches() {
            for row in batch.unwrap().inputs[0].1.to_f32().unwrap().chunks(4) {
                row.iter().zip(&mut squares).for_each(|(x, sum)| *sum += f64::from(x * x));
            }
        }
        let (before, local) = (Numbers::of(&model), Numbers::of(&spec(Scope::Local).model));
        for row in 0..6 {
            let mut order: Vec<usize> = (0..4).collect();
            order.sort_by(|i, j| {
                let key = |at: &usize| before.0[0][row * 4 + at].abs() * squares[*at].sqrt();
                key(i).total_cmp(&key(j))
            });
            let zero: Vec<bool> = order.iter().map(|at| local.0[0][row * 4 + at] == 0.0).collect();
            assert_eq!(zero, [true, true, false, false], "row {row}");
        }
        let global = spec(Scope::Global);
        assert!(global.report.removed == 0.5 && Numbers::of(&global.model).0[0] != local.0[0]);
    });
}

#[test]
fn a_pattern_leaves_the_weights_that_meet_the_strongest_activations_in_each_run() {
    let (model, file) = (dense(false), file(true));
    calibrated(&model, &file, |calibration| {
        let spec = PruneRequest {
            method: Method::Unstructured,
            criterion: Some(Criterion::Wanda),
            target: Some(Target::NOfM("1:2".to_owned().try_into().unwrap())),
            recovery: Some(Vec::new()),
            ..PruneRequest::default()
        };
        let pruned = prune(&model, &spec.parse().unwrap(), Some(calibration), 1, &|_| {}).unwrap();
        let mut squares = [0.0; 4];
        for batch in calibration.fitting().batches() {
            for row in batch.unwrap().inputs[0].1.to_f32().unwrap().chunks(4) {
                row.iter().zip(&mut squares).for_each(|(x, sum)| *sum += f64::from(x * x));
            }
        }
        let (before, after) = (Numbers::of(&model), Numbers::of(&pruned.model));
        for first in (0..24).step_by(2) {
            let key = |at: usize| before.0[0][at].abs() * squares[at % 4].sqrt();
            let (gone, kept) = if key(first) < key(first + 1) { (first, first + 1) } else { (first + 1, first) };
            assert_eq!((after.0[0][gone], after.0[0][kept]), (0.0, before.0[0][kept]), "run at {first}");
        }
        assert!(after.0[2].chunks(2).all(|run| run.contains(&0.0)), "the runs of the second layer");
        assert_eq!(pruned.report.removed, 0.5);
    });
}

#[test]
fn criteria_of_channels_are_refused_for_single_weights() {
    for criterion in Criterion::ALL {
        for target in [Target::Sparsity(0.5), Target::NOfM("2:4".to_owned().try_into().unwrap())] {
            let spec = PruneRequest {
                method: Method::Unstructured,
                criterion: Some(criterion),
                target: Some(target),
                ..PruneRequest::default()
            };
            match spec.parse() {
                Ok(_) => assert!(criterion.scores_weights(), "{criterion:?}"),
                Err((field, reason)) => {
                    assert_eq!(field, "criterion");
                    assert!(!criterion.scores_weights() && reason.contains(criterion.as_str()), "{reason}");
                }
            }
        }
    }
}
