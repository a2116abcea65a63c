//! Wrong cuts in bodies, of quantized numbers and of values that are moved by indices: the certificate sees each of them.

use super::mutations::{cut_of, shift, verdict_on};
use super::*;
use crate::onnx::bodies;
use crate::onnx::proto::NodeProto;

/// The branches, of which only one is ever taken on drawn inputs.
fn taking(bound: f32) -> Model {
    let mut model = super::bodies::branches();
    let graph = model.graph_proto_mut();
    let read = graph.node.iter().find(|node| node.is("Greater")).unwrap().input[1].clone();
    let bound = Tensor::from_f32(&[], &[bound]);
    for node in &mut graph.node {
        if node.output.first() == Some(&read) {
            node.set_attribute("value", Attribute::Tensor(bound.to_proto("")));
        }
    }
    if let Some(initializer) = graph.initializer.iter_mut().find(|tensor| tensor.name() == read) {
        *initializer = bound.to_proto(&read);
    }
    model
}

#[test]
fn a_wrong_cut_in_a_branch_that_is_not_taken_is_seen() {
    for bound in [1e9, -1e9] {
        let model = bodies::lay_out(&taking(bound)).unwrap().model;
        let certificate = verdict_on(&model, |_| {}).unwrap();
        for way in ["own, conditions true", "own, conditions false"] {
            let seen = certificate.checks.iter().any(|check| check.weights == way && check.error.is_some());
            assert!(seen, "{way}: {certificate:?}");
        }
        for weight in ["w", "w_in1"] {
            for axis in [0, 1] {
                let error = verdict_on(&model, |plan| shift(&mut cut_of(plan, weight).axes[axis])).unwrap_err();
                assert!(error.contains("differs from the masked original"), "{weight} {axis}: {error}");
            }
        }
    }
}

/// The loop, in as many turns as one if any element is less than a number that none is less than.
fn making_no_turn() -> Model {
    let mut model = super::bodies::turns();
    let op = |op_type: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let mut cast = op("Cast", &["less"], "ones");
    cast.set_attribute("to", Attribute::Int(i64::from(DataType::Int64.number())));
    let mut count = op("ReduceMax", &["ones"], "count");
    count.set_attribute("keepdims", Attribute::Int(0));
    let graph = model.graph_proto_mut();
    graph.initializer.push(Tensor::from_f32(&[], &[-1e10]).to_proto("bound"));
    let position = graph.node.iter().position(|node| node.is("Loop")).unwrap();
    graph.node[position].input[0] = "count".into();
    graph.node.splice(position..position, [op("Less", &["x", "bound"], "less"), cast, count]);
    // A mean over no turns is no number.
    graph.node.retain(|node| !node.is("ReduceMean"));
    graph.node.iter_mut().find(|node| node.is("Add")).unwrap().input[1] = "last".into();
    model
}

#[test]
fn a_wrong_cut_in_a_loop_is_seen_though_it_makes_no_turn_by_itself() {
    let model = bodies::lay_out(&making_no_turn()).unwrap().model;
    let certificate = verdict_on(&model, |_| {}).unwrap();
    assert!(certificate.checks.iter().any(|check| check.weights == "own, every loop run" && check.error.is_some()));
    let error = verdict_on(&model, |plan| shift(&mut cut_of(plan, "w").axes[1])).unwrap_err();
    assert!(error.contains("every loop run"), "{error}");
}

#[test]
fn wrong_scales_zero_points_and_offsets_of_quantized_numbers_are_seen() {
    let model = super::quantized::all_quantized();
    assert!(verdict_on(&model, |_| {}).unwrap().passed);
    for (tensor, axis) in [("a.scale", 0), ("b.scale", 0), ("a", 0), ("b", 1), ("c", 0)] {
        let error = verdict_on(&model, |plan| {
            let cut = cut_of(plan, tensor);
            shift(cut.axes.iter_mut().find(|cut| cut.axis == axis).unwrap());
        });
        assert!(error.unwrap_err().contains("differs"), "{tensor} {axis}");
    }
    for tensor in ["a.scale", "a.zero"] {
        let error = verdict_on(&model, |plan| plan.tensors.retain(|cut| cut.tensor != tensor)).unwrap_err();
        assert!(error.contains("the new model does not run"), "{tensor}: {error}");
    }
}

#[test]
fn a_wrong_cut_behind_a_scatter_by_indices_is_seen() {
    let model = super::places::scattered();
    assert!(verdict_on(&model, |_| {}).unwrap().passed);
    let error = verdict_on(&model, |plan| shift(&mut cut_of(plan, "v").axes[0])).unwrap_err();
    assert!(error.contains("differs"), "{error}");
}
