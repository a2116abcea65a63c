//! The error that remains after a repair, on networks made here.

use super::*;
use crate::data::test_files::labelled;
use crate::data::{Calibration, Dataset};
use crate::spec::attempt::DatasetLimits;
use crate::spec::prune::{Criterion, Rung, Scope};

/// Cut on so many samples of the shape.
fn on_samples(model: &Model, shape: &[usize], count: usize, spec: &PruneSpec) -> Pruned {
    let all = 2 * count;
    let rows: Vec<f32> = (0..all * shape.iter().product::<usize>())
        .map(|at| ((at * 7919 % 10_007) as f32 / 5003.0 - 1.0) * (1.0 + (at % 3) as f32))
        .collect();
    let file = labelled(&[&[all], shape].concat(), &rows, &vec![0; all]);
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let calibration = Calibration::new(&dataset, model, count, 1).unwrap();
    prune(model, spec, Some(&calibration), 1, &|_| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn spec(criterion: Criterion, share: f64) -> PruneSpec {
    PruneSpec { criterion, scope: Scope::Global, target: Target::ChannelsRemoved(share), ..half() }
}

#[test]
fn a_layer_whose_outputs_are_the_same_on_all_samples_goes_first() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("live", &x, 4, 8);
    let live = net.node("Relu", &[&y], &[]);
    let w = net.weight("dead", &[8, 8]);
    let b = net.b.initializer("dead.bias", &Tensor::from_f32(&[8], &[-100.0; 8]));
    let y = net.node("Gemm", &[&live, &w, &b], &[("transB", Attribute::Int(1))]);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("head", &y, 8, 8);
    let other = net.dense("other", &live, 8, 8);
    let sum = net.node("Add", &[&y, &other], &[]);
    let y = net.dense("last", &sum, 8, 2);
    let pruned = on_samples(&net.finish(&y, &[2]), &[4], 40, &spec(Criterion::Obs, 0.25));
    // All but the one that has to stay.
    assert_eq!((shape(&pruned, "dead")[0], shape(&pruned, "live")[0]), (2, 8));
}

#[test]
fn one_sample_is_enough_to_score_by() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("b", &y, 8, 6);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("c", &y, 6, 2);
    let pruned = on_samples(&net.finish(&y, &[2]), &[4], 1, &spec(Criterion::Obs, 0.5));
    assert!(proof(&pruned).passed && pruned.report.removed >= 0.5);
}

/// The second half of the channels are sums of the first, with weights that are larger: norms keep what can be made up for.
#[test]
fn what_others_make_up_for_goes_before_what_is_small() {
    let mut net = Net::new();
    let x = net.input(&[6, 6, 6]);
    let small = net.random(&[4, 6, 3, 3]).to_f32().unwrap().into_owned();
    let per = 6 * 9;
    let mut values = small.clone();
    for at in 0..4 {
        values.extend((0..per).map(|i| 2.0 * (small[at * per + i] + small[(at + 1) % 4 * per + i])));
    }
    let w = net.b.initializer("a", &Tensor::from_f32(&[8, 6, 3, 3], &values));
    let y = net.node("Conv", &[&x, &w], &[("pads", ints(&[1, 1, 1, 1]))]);
    let y = net.conv("b", &y, 8, 4);
    let model = net.finish(&y, &[4, 6, 6]);
    let error = |criterion| {
        let spec = PruneSpec { recovery: vec![Rung::LeastSquares], ..spec(criterion, 0.5) };
        on_samples(&model, &[6, 6, 6], 20, &spec).report.drift.expect("drift")
    };
    let left = |criterion| error(criterion).output_error;
    let (obs, l2) = (left(Criterion::Obs), left(Criterion::L2));
    // Four channels span all eight, but for the damping of the repair; sums of neighbours in a ring of four span three.
    assert!(obs < 0.02 && l2 > 5.0 * obs, "{obs} {l2}");
}

/// Inputs of one group of a transposed convolution do not reach the outputs of the other, and cannot make up for its inputs.
#[test]
fn groups_of_a_transposed_convolution_make_up_for_nothing_in_each_other() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    // Channels 0 and 4 are the same; 1 and 2 nearly nothing.
    let mut values = net.random(&[8, 3, 3, 3]).to_f32().unwrap().into_owned();
    values.copy_within(0..27, 4 * 27);
    values[27..3 * 27].iter_mut().for_each(|value| *value *= 0.05);
    values[5 * 27..7 * 27].iter_mut().for_each(|value| *value *= 0.05);
    let w = net.b.initializer("a", &Tensor::from_f32(&[8, 3, 3, 3], &values));
    let y = net.node("Conv", &[&x, &w], &[("pads", ints(&[1, 1, 1, 1]))]);
    let w = net.weight("up", &[8, 2, 3, 3]);
    let y = net.node("ConvTranspose", &[&y, &w], &[("group", Attribute::Int(2)), ("pads", ints(&[1, 1, 1, 1]))]);
    let pruned = on_samples(&net.finish(&y, &[4, 5, 5]), &[3, 5, 5], 20, &spec(Criterion::Obs, 0.25));
    let removed: Vec<u32> =
        pruned.plan.as_ref().unwrap().tensors.iter().find(|cut| cut.tensor == "a").unwrap().axes[0].removed.clone();
    assert!(!removed.contains(&0) && !removed.contains(&4), "{removed:?}");
}
