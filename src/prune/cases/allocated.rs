//! What goes where: scopes, bounds, exclusions, targets in bytes, and plans without a cut.

use super::*;
use crate::prune::allocate::classes;
use crate::prune::coupling::{Wishes, couple};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, Scope, WidthBound};

/// Three convolutions of 8 channels, a pooling and a dense layer; the weights of `a` are far smaller than those of the
/// others.
fn stack() -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let values: Vec<f32> = (0..8 * 27).map(|at| 0.001 * (at + 1) as f32).collect();
    let small = net.b.initializer("a", &Tensor::from_f32(&[8, 3, 3, 3], &values));
    let mut y = net.node("Conv", &[&x, &small], &[("pads", ints(&[1, 1, 1, 1]))]);
    for name in ["b", "c"] {
        y = net.node("Relu", &[&y], &[]);
        y = net.conv(name, &y, 8, 8);
    }
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let y = net.dense("d", &y, 8, 4);
    net.finish(&y, &[4])
}

/// Widths that are left of the three convolutions.
fn widths(spec: &PruneSpec) -> [i64; 3] {
    let (cut, _) = cut_without_certificate(&stack(), spec).unwrap_or_else(|error| panic!("{error}"));
    ["a", "b", "c"].map(|name| cut.graph().initializer(name).unwrap().dims[0])
}

fn bounded(pattern: &str, min_width: Option<u64>, max_removed: Option<f64>) -> PruneSpec {
    PruneSpec { bounds: [(pattern.to_owned(), WidthBound { min_width, max_removed })].into(), ..half() }
}

#[test]
fn groups_of_one_structure_compete_among_themselves_and_each_structure_gives_the_same_share() {
    let model = stack();
    let graph = model.graph();
    let coupling = couple(&model, &graph, &crate::onnx::shape::infer(&model), &Wishes::default()).unwrap();
    // `a` has no bias, `c` is read by a dense layer: the first two groups differ, and the last from both.
    assert_eq!(classes(&graph, &coupling, Scope::Isomorphic), [0, 1, 2]);
    assert_eq!(classes(&graph, &coupling, Scope::Global), [0, 0, 0]);

    let mut net = Net::new();
    let mut y = net.input(&[8, 5, 5]);
    for name in ["a", "b", "c", "d"] {
        y = net.conv(name, &y, 8, 8);
        y = net.node("Relu", &[&y], &[]);
    }
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let y = net.dense("e", &y, 8, 4);
    let model = net.finish(&y, &[4]);
    let graph = model.graph();
    let coupling = couple(&model, &graph, &crate::onnx::shape::infer(&model), &Wishes::default()).unwrap();
    assert_eq!(classes(&graph, &coupling, Scope::Isomorphic), [0, 0, 0, 1]);
    let spec = PruneSpec { scope: Scope::Isomorphic, ..half() };
    let (cut, _) = cut_without_certificate(&model, &spec).unwrap();
    let left = ["a", "b", "c", "d"].map(|name| cut.graph().initializer(name).unwrap().dims[0]);
    assert_eq!((left[..3].iter().sum::<i64>(), left[3]), (12, 4), "{left:?}");
}

#[test]
fn a_bound_holds_the_channels_that_a_layer_writes_and_no_others() {
    let norm = PruneSpec { normalizer: crate::spec::prune::Normalizer::None, ..half() };
    assert_eq!(widths(&norm)[0], 1, "without a bound the layer of small weights goes but for its floor");
    let bound = |spec: PruneSpec| PruneSpec { normalizer: crate::spec::prune::Normalizer::None, ..spec };
    assert_eq!(widths(&bound(bounded("a", Some(6), None)))[0], 6);
    assert_eq!(widths(&bound(bounded("a", None, Some(0.25))))[0], 6);
    // The name of a node means the same as that of its weight, and the strictest bound holds.
    assert_eq!(widths(&bound(bounded("Conv_0", Some(7), None)))[0], 7);
    let mut both = bound(bounded("a", Some(3), None));
    both.bounds.insert("Conv_0".into(), WidthBound { min_width: None, max_removed: Some(0.5) });
    assert_eq!(widths(&both)[0], 4);
}

#[test]
fn a_bound_that_asks_for_more_than_there_is_keeps_all_and_one_that_makes_the_target_impossible_says_so() {
    let spec = PruneSpec { target: Target::ChannelsRemoved(0.5), ..bounded("*", Some(100), None) };
    let failure = Failure::from(cut_without_certificate(&stack(), &spec).unwrap_err());
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
    assert!(failure.message.contains("`bounds` hold 3 of 3 groups"), "{failure}");
}

#[test]
fn a_bound_of_nothing_is_refused_and_one_of_what_stays_anyway_is_told() {
    let failure = Failure::from(cut_without_certificate(&stack(), &bounded("nothing*", Some(4), None)).unwrap_err());
    assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::InvalidSpec, Some("/spec/bounds")));
    let pruned = prune(&stack(), &bounded("d", Some(4), None), None, 1, &|_| {}).unwrap();
    assert!(
        pruned.report.notes.iter().any(|note| note.contains("the bound of `d` holds nothing")),
        "{:?}",
        pruned.report.notes
    );
}

#[test]
fn a_share_of_a_width_is_bounded_as_a_hand_counts_it() {
    let bound = |min_width, max_removed| WidthBound { min_width, max_removed };
    assert_eq!(bound(None, Some(0.3)).least(10), 7);
    assert_eq!(bound(None, Some(0.5)).least(5), 3);
    assert_eq!(bound(None, Some(0.0)).least(5), 5);
    assert_eq!(bound(None, Some(1.0)).least(5), 0);
    assert_eq!(bound(Some(3), Some(0.9)).least(5), 3);
    assert_eq!(bound(Some(9), None).least(5), 5);
}

#[test]
fn what_excluded_operators_write_stays() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let y = net.conv("a", &x, 3, 8);
    let w = net.weight("up", &[8, 8, 2, 2]);
    let y = net.node("ConvTranspose", &[&y, &w], &[("strides", ints(&[2, 2]))]);
    let y = net.conv("b", &y, 8, 2);
    let model = net.finish(&y, &[2, 10, 10]);
    let spec =
        PruneSpec { exclude_operators: vec!["ConvTranspose".into()], target: Target::ChannelsRemoved(0.4), ..half() };
    let pruned = prune(&model, &spec, None, 1, &|_| {}).unwrap();
    assert_eq!((shape(&pruned, "a")[0], &shape(&pruned, "up")[..2]), (5, &[5, 8][..]));
    assert!(reason(&pruned, "up", 1).contains("it is excluded"), "{}", reason(&pruned, "up", 1));
    let sparse = PruneSpec { method: Method::Unstructured, target: Target::Sparsity(0.5), ..spec.clone() };
    let sparse = prune(&model, &sparse, None, 1, &|_| {}).unwrap();
    assert_eq!(sparse.report.frozen.iter().map(|frozen| frozen.what.as_str()).collect::<Vec<_>>(), ["up"]);
    let unknown = PruneSpec { exclude_operators: vec!["Deconvolution".into()], ..spec };
    let failure = Failure::from(prune(&model, &unknown, None, 1, &|_| {}).unwrap_err());
    assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::InvalidSpec, Some("/spec/exclude_operators")));
    assert!(failure.message.contains("the model has Conv, ConvTranspose"), "{failure}");
}

#[test]
fn a_file_is_cut_to_at_most_so_many_bytes_and_not_far_below() {
    let model = stack();
    let whole = model.to_bytes().len() as u64;
    for share in [0.4, 0.6, 0.8] {
        let most = (whole as f64 * share) as u64;
        let pruned = prune(&model, &PruneSpec { target: Target::Bytes(most), ..half() }, None, 1, &|_| {}).unwrap();
        let bytes = pruned.model.to_bytes().len() as u64;
        assert!(bytes <= most && bytes as f64 > 0.75 * most as f64, "{bytes} of at most {most}");
        assert_eq!(pruned.report.size_after.bytes, bytes);
    }
    let failure = Failure::from(
        prune(&model, &PruneSpec { target: Target::Bytes(100), ..half() }, None, 1, &|_| {}).unwrap_err(),
    );
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
    assert!(failure.message.contains("bytes 100 cannot be reached"), "{failure}");
}

#[test]
fn a_dry_run_plans_the_cut_that_the_same_spec_makes() {
    for spec in [half(), PruneSpec { method: Method::Unstructured, target: Target::Sparsity(0.5), ..half() }] {
        let made = prune(&stack(), &spec, None, 1, &|_| {}).unwrap();
        let planned = prune(&stack(), &PruneSpec { dry_run: true, ..spec }, None, 1, &|stage| {
            assert_eq!(stage, Stage::Pruning, "a dry run certifies nothing");
        });
        let planned = planned.unwrap();
        assert_eq!((planned.plan, &planned.report.groups), (made.plan, &made.report.groups));
        assert_eq!(planned.report.size_after, made.report.size_after);
        assert!(planned.report.dry_run && planned.report.certificate.is_none());
        assert!(!made.report.dry_run && made.report.certificate.is_some());
    }
}

/// LAMP for single weights: Lee et al. score a weight within its tensor, so that tensors of other scales lose alike.
#[test]
fn relative_magnitudes_of_single_weights_are_those_of_their_own_tensor() {
    let spec =
        PruneSpec { method: Method::Unstructured, criterion: Criterion::Lamp, target: Target::Sparsity(0.5), ..half() };
    let (model, pruned) = (stack(), prune(&stack(), &spec, None, 1, &|_| {}).unwrap());
    let names = ["a", "b", "c", "d"];
    let values =
        |model: &Model, name: &str| model.graph().constant(name).unwrap().unwrap().to_f32().unwrap().into_owned();
    let mut scores: Vec<(f64, bool)> = Vec::new();
    for name in names {
        let before = values(&model, name);
        let zero: Vec<bool> = values(&pruned.model, name).iter().map(|value| *value == 0.0).collect();
        let squares: Vec<f64> = before.iter().map(|value| f64::from(*value) * f64::from(*value)).collect();
        scores.extend(
            squares.iter().zip(zero).map(|(s, zero)| (s / squares.iter().filter(|t| *t >= s).sum::<f64>(), zero)),
        );
    }
    let stays = scores.iter().filter(|(_, zero)| !zero).map(|(score, _)| *score).fold(f64::INFINITY, f64::min);
    let goes = scores.iter().filter(|(_, zero)| *zero).map(|(score, _)| *score).fold(0.0, f64::max);
    assert!(goes <= stays * (1.0 + 1e-9), "{goes} went and {stays} stayed");
    assert!(values(&pruned.model, "a").contains(&1.0e-3_f32.mul_add(216.0, 0.0)), "the small layer keeps its largest");
}
