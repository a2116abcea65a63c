//! What stays, and that it says why.

use super::*;
use crate::spec::failure::{Failure, FailureCode};

/// A dense layer around something: `rest` makes the middle value out of eight channels.
fn around(rest: impl FnOnce(&mut Net, String) -> String) -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("first", &x, 4, 6);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("a", &y, 6, 8);
    let y = rest(&mut net, y);
    let y = net.dense("b", &y, 8, 2);
    net.finish(&y, &[2])
}

fn stays(model: &Model, expected: &str) {
    let pruned = prune(model, &PruneSpec { target: Target::ChannelsRemoved(0.2), ..half() }, None, 1, &|_| {}).unwrap();
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "first")[0] < 6), (8, true));
    let found = reason(&pruned, "a", 0);
    assert!(found.contains(expected), "{found}");
}

#[test]
fn an_operator_without_a_rule_freezes_what_it_touches() {
    let model = around(|net, y| {
        net.b.import("com.microsoft", 1);
        net.fused("Trilu", &[&y], &[])
    });
    stays(&model, "there is no coupling rule for Trilu");
}

#[test]
fn statistics_that_masks_cannot_correct_keep_their_axis() {
    let model = around(|net, y| net.node("MeanVarianceNormalization", &[&y], &[("axes", ints(&[1]))]));
    stays(&model, "MeanVarianceNormalization_3: mean and variance run over this axis");
}

#[test]
fn a_running_sum_keeps_its_axis() {
    let model = around(|net, y| {
        let axis = net.b.constant(&Tensor::from_i64(&[], &[1]));
        net.node("CumSum", &[&y, &axis], &[])
    });
    stays(&model, "each element depends on those before it");
}

#[test]
fn axes_that_are_normalised_over_stay_where_the_user_wants_it() {
    let softmax = around(|net, y| net.node("Softmax", &[&y], &[]));
    let layer_norm = around(|net, y| {
        let (scale, bias) = (net.positive("scale", &[8]), net.weight("shift", &[8]));
        net.node("LayerNormalization", &[&y, &scale, &bias], &[])
    });
    let mean = around(|net, y| {
        let mean = net.node("ReduceMean", &[&y], &[("axes", ints(&[1]))]);
        net.node("Sub", &[&y, &mean], &[])
    });
    for model in [softmax, layer_norm, mean] {
        let spec = PruneSpec { keep_normalized: true, target: Target::ChannelsRemoved(0.2), ..half() };
        let kept = prune(&model, &spec, None, 1, &|_| {}).unwrap();
        assert_eq!((shape(&kept, "a")[0], shape(&kept, "first")[0] < 6), (8, true));
        assert!(reason(&kept, "a", 0).contains("it is normalised over this axis"), "{}", reason(&kept, "a", 0));
        assert!(shape(&certified(&model), "a")[0] < 8);
    }
}

#[test]
fn a_size_that_scales_values_goes_on_being_what_it_was() {
    let model = around(|net, y| {
        let size = net.node("Shape", &[&y], &[]);
        let one = net.b.constant(&Tensor::from_i64(&[], &[1]));
        let size = net.node("Gather", &[&size, &one], &[]);
        let size = net.node("Cast", &[&size], &[("to", Attribute::Int(1))]);
        let size = net.node("Sqrt", &[&size], &[]);
        net.node("Div", &[&y, &size], &[])
    });
    let pruned = certified(&model);
    assert!(shape(&pruned, "a")[0] < 8);
    let written_down = &pruned.plan.unwrap().numbers;
    assert!(
        written_down.iter().any(|numbers| numbers.elements == [8] && numbers.shape == Some(vec![])),
        "{written_down:?}"
    );
}

#[test]
fn every_second_channel_is_no_range() {
    let model = around(|net, y| {
        let inputs = [[0], [i64::MAX], [1], [2]].map(|values| net.numbers(&values));
        let even = net.node("Slice", &[&y, &inputs[0], &inputs[1], &inputs[2], &inputs[3]], &[]);
        net.node("Concat", &[&even, &even], &[("axis", Attribute::Int(1))])
    });
    stays(&model, "a slice takes every so many of its elements");
}

#[test]
fn reflected_channels_stay() {
    let model = around(|net, y| {
        let pads = net.numbers(&[0, 2, 0, 2]);
        let wide = net.node("Pad", &[&y, &pads], &[("mode", Attribute::String("reflect".into()))]);
        let inputs = [[2], [10], [1]].map(|values| net.numbers(&values));
        net.node("Slice", &[&wide, &inputs[0], &inputs[1], &inputs[2]], &[])
    });
    stays(&model, "padding other than by constants");
}

#[test]
fn factorings_that_do_not_refine_each_other_stay() {
    let model = around(|net, y| {
        let odd = net.numbers(&[0, 2, 4]);
        let y = net.node("Reshape", &[&y, &odd], &[]);
        let turned = net.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1]))]);
        let flat = net.numbers(&[0, 8]);
        let turned = net.node("Reshape", &[&turned, &flat], &[]);
        let thirds = net.numbers(&[-1, 8]);
        net.node("Reshape", &[&turned, &thirds], &[])
    });
    // A shuffle of 2 x 4 refines: its factors are cut, and the result is still certified.
    let pruned = certified(&model);
    assert_eq!(shape(&pruned, "a")[0], shape(&pruned, "b")[1]);
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("first", &x, 4, 6);
    let y = net.dense("a", &y, 6, 24);
    let fourths = net.numbers(&[0, 4, 6]);
    let y = net.node("Reshape", &[&y, &fourths], &[]);
    let w = net.weight("per", &[6, 6]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let sixths = net.numbers(&[0, 6, 4]);
    let y = net.node("Reshape", &[&y, &sixths], &[]);
    let w = net.weight("b", &[4, 2]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let pruned = certified(&net.finish(&y, &[6, 2]));
    assert!(
        reason(&pruned, "a", 0).contains("the factors 4 · 6 and 6 · 4 do not refine each other"),
        "{}",
        reason(&pruned, "a", 0)
    );
}

#[test]
fn excluded_names_stay() {
    let model = around(|_, y| y);
    let spec = PruneSpec { exclude: vec!["a*".into()], target: Target::ChannelsRemoved(0.4), ..half() };
    let error = prune(&model, &spec, None, 1, &|_| {}).unwrap_err();
    assert!(error.to_string().contains("the best that is possible is 0.0000 (left alone: it is excluded"), "{error}");
}

/// A pattern that met nothing was ignored, and what it was meant for was cut.
#[test]
fn a_pattern_that_excludes_nothing_is_refused_with_a_name_of_the_model() {
    let model = around(|_, y| y);
    for spec in [half(), PruneSpec { method: Method::Unstructured, target: Target::Sparsity(0.5), ..half() }] {
        let spec = PruneSpec { exclude: vec!["layer9*".into()], ..spec };
        let error = prune(&model, &spec, None, 1, &|_| {}).unwrap_err();
        assert!(error.to_string().contains("`layer9*` matches no node or initializer"), "{error}");
        let failure = Failure::from(error);
        assert_eq!(failure.place.as_deref(), Some("/spec/exclude"));
    }
}

#[test]
fn an_unreachable_target_tells_the_best() {
    let model = around(|_, y| y);
    let error = prune(&model, &PruneSpec { target: Target::MacsKept(0.0), ..half() }, None, 1, &|_| {}).unwrap_err();
    assert!(
        error.to_string().starts_with("the target macs_kept 0 cannot be reached; the best that is possible is 0."),
        "{error}"
    );
}

#[test]
fn a_stricter_target_removes_a_superset() {
    let model = around(|_, y| y);
    let removed = |share: f64| {
        let spec = PruneSpec { target: Target::MacsKept(share), ..half() };
        let (_, plan) = cut_without_certificate(&model, &spec).unwrap();
        plan.tensors.into_iter().map(|cut| (cut.tensor, cut.axes)).collect::<std::collections::BTreeMap<_, _>>()
    };
    let (loose, strict) = (removed(0.7), removed(0.3));
    for (tensor, axes) in &loose {
        for axis in axes {
            let other = strict[tensor].iter().find(|other| other.axis == axis.axis).unwrap();
            assert!(axis.removed.iter().all(|index| other.removed.contains(index)), "{tensor}");
        }
    }
}

/// Every index of every axis was numbered, at four bytes in several lists.
#[test]
fn a_declared_size_of_billions_takes_no_memory() {
    let mut net = Net::new();
    let x = net.input(&[3_000_000_000]);
    let inputs = [[0], [4], [1]].map(|values| net.numbers(&values));
    let y = net.node("Slice", &[&x, &inputs[0], &inputs[1], &inputs[2]], &[]);
    let y = net.dense("a", &y, 4, 8);
    let y = net.dense("b", &y, 8, 2);
    let model = net.finish(&y, &[2]);
    let (cut, _) = cut_without_certificate(&model, &half()).unwrap();
    assert_eq!(cut.graph().initializer("a").unwrap().dims, [4, 4]);
    let failure = Failure::from(prune(&model, &half(), None, 1, &|_| {}).unwrap_err());
    assert_eq!(failure.code, FailureCode::Unsupported);
    assert!(failure.to_string().contains("too large to be drawn"), "{failure}");
}

#[test]
fn more_indices_than_can_be_told_apart_are_refused() {
    let mut net = Net::new();
    let x = net.input(&[1]);
    let size = net.numbers(&[1, 3_000_000_000]);
    let y = net.node("Expand", &[&x, &size], &[]);
    let y = net.node("ReduceMax", &[&y], &[("axes", ints(&[1]))]);
    let y = net.dense("a", &y, 1, 8);
    let y = net.dense("b", &y, 8, 2);
    let failure = Failure::from(prune(&net.finish(&y, &[2]), &half(), None, 1, &|_| {}).unwrap_err());
    assert_eq!(failure.code, FailureCode::Unsupported);
    assert!(failure.to_string().contains("can be told apart"), "{failure}");
}

/// Parts of an axis that reach an output are not numbered; the bounds of the parts beside them still have to follow.
#[test]
fn a_part_that_reaches_an_output_stays_and_the_part_behind_it_is_cut() {
    for op_type in ["Split", "Slice"] {
        let mut net = Net::new();
        let x = net.input(&[4]);
        let y = net.dense("a", &x, 4, 16);
        let (free, held) = if op_type == "Split" {
            let sizes = net.numbers(&[8, 8]);
            let parts = net.b.nodes("Split", &[&y, &sizes], &[("axis", Attribute::Int(1))], 2);
            (parts[0].clone(), parts[1].clone())
        } else {
            let range = |net: &mut Net, from: i64, to: i64| {
                let inputs = [[from], [to], [1]].map(|values| net.numbers(&values));
                net.node("Slice", &[&y, &inputs[0], &inputs[1], &inputs[2]], &[])
            };
            (range(&mut net, 0, 8), range(&mut net, 8, 16))
        };
        let free = net.node("Relu", &[&free], &[]);
        let z = net.dense("b", &free, 8, 2);
        net.b.output(&held, DataType::Float, &[Size::from("n"), 8.into()]);
        let pruned = certified(&net.finish(&z, &[2]));
        assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[1]), (12, 4), "{op_type}");
    }
}

#[test]
fn statistics_of_every_position_stay() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let y = net.conv("first", &x, 3, 6);
    let y = net.conv("a", &y, 6, 8);
    let parameters: Vec<String> = ["scale", "shift", "mean", "var"].map(|n| net.positive(n, &[8, 5, 5])).into();
    let inputs: Vec<&str> = [&y].into_iter().chain(&parameters).map(String::as_str).collect();
    let y = net.node("BatchNormalization", &inputs, &[("spatial", Attribute::Int(0))]);
    let y = net.conv("b", &y, 8, 2);
    let model = net.finish_in(&y, &[2, 5, 5], 8);
    let graph = model.graph();
    let inferred = crate::onnx::shape::infer(&model);
    let cut = structured::cut(structured::Cloth {
        model: &model,
        graph: &graph,
        inferred: &inferred,
        spec: &half(),
        evidence: None,
        host: &Host::alone(),
    })
    .unwrap();
    let held = cut.coupling.frozen.iter().find(|frozen| frozen.what == "a (axis 0)").unwrap();
    assert!(held.reason.contains("not one number a channel"), "{held:?}");
    assert_eq!(cut.model.graph().initializer("a").unwrap().dims[0], 8);
}
