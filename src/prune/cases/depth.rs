//! Residual blocks left out.

use super::*;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::Method;
use crate::spec::report::BlockReport;

/// A residual network whose second block adds least; `left_out` builds it without the named blocks.
fn residual(left_out: &[&str]) -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 8, 8]);
    let mut y = net.conv("stem", &x, 3, 4);
    for (name, scale) in [("one", 1.0), ("two", 0.01), ("three", 0.3)] {
        let inner = net.conv(&format!("{name}.a"), &y, 4, 6);
        let inner = net.node("Relu", &[&inner], &[]);
        let inner = net.conv(&format!("{name}.b"), &inner, 6, 4);
        let factor = net.b.constant(&Tensor::from_f32(&[], &[scale]));
        let inner = net.node("Mul", &[&inner, &factor], &[]);
        let sum = net.node("Add", &[&inner, &y], &[]);
        let stream = if left_out.contains(&name) { y } else { sum };
        y = net.node("Relu", &[&stream], &[]);
    }
    // Both ways have a layer of their own, as where a network halves its image.
    let main = net.conv("wide.a", &y, 4, 8);
    let side = net.conv("wide.b", &y, 4, 8);
    let y = net.node("Add", &[&main, &side], &[]);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let y = net.dense("head", &y, 8, 5);
    net.finish(&y, &[5])
}

fn shallower(model: &Model, target: Target, exclude: &[&str]) -> Result<Pruned, PruneError> {
    let request = PruneRequest {
        method: Method::Depth,
        target: Some(target),
        exclude: exclude.iter().map(|name| (*name).to_owned()).collect(),
        ..PruneRequest::default()
    };
    prune(model, &request.parse().unwrap(), None, 1, &|_| {})
}

fn has(pruned: &Pruned, name: &str) -> bool {
    pruned.model.graph().initializer(name).is_some()
}

#[test]
fn the_block_that_changes_the_stream_least_goes_and_the_rest_is_the_network_built_without_it() {
    let model = residual(&[]);
    let pruned = shallower(&model, Target::BlocksRemoved(1), &[]).unwrap();
    assert!(apart(&residual(&["two"]), &pruned.model, &[2, 3, 8, 8]) < 1e-6);
    assert!(apart(&model, &pruned.model, &[2, 3, 8, 8]) > 1e-6, "the block did something");
    assert!(!has(&pruned, "two.a") && !has(&pruned, "two.b.bias") && has(&pruned, "one.a") && has(&pruned, "three.b"));
    let report = &pruned.report;
    assert_eq!((proof(&pruned).kind.as_str(), proof(&pruned).passed), ("verified", true));
    assert!(report.output_error.is_some_and(|error| error > 0.0 && error < 0.5), "{:?}", report.output_error);
    let [one, two, three] = report.blocks.as_slice() else { panic!("{:?}", report.blocks) };
    let change = |block: &BlockReport| block.change.unwrap();
    assert!(change(two) < change(three) && change(three) < change(one));
    assert_eq!([one.removed, two.removed, three.removed], [false, true, false]);
    assert_eq!((two.operators, two.parameters), (5, 2 * 4 * 6 * 9 + 6 + 4 + 1));
    assert_eq!(report.size_before.parameters - report.size_after.parameters, two.parameters);
    let frozen = &report.frozen[0];
    assert!(frozen.operator.as_deref().is_some_and(|operator| operator.starts_with("Add")), "{frozen:?}");
    assert!(frozen.reason.contains("neither operand is computed from the other"), "{frozen:?}");
}

#[test]
fn blocks_go_until_a_share_of_the_parameters_is_left() {
    let model = residual(&[]);
    let whole = crate::cost::parameter_count(&model) as f64;
    let pruned = shallower(&model, Target::ParamsKept((whole - 500.0) / whole), &[]).unwrap();
    assert!(apart(&residual(&["two", "three"]), &pruned.model, &[2, 3, 8, 8]) < 1e-6);
    let pruned = shallower(&model, Target::BlocksRemoved(3), &[]).unwrap();
    assert!(apart(&residual(&["one", "two", "three"]), &pruned.model, &[2, 3, 8, 8]) < 1e-6);
}

#[test]
fn excluded_blocks_stay_and_too_many_cannot_go() {
    let model = residual(&[]);
    let pruned = shallower(&model, Target::BlocksRemoved(1), &["two.*"]).unwrap();
    assert!(has(&pruned, "two.a") && !has(&pruned, "three.a"));
    assert!(pruned.report.frozen.iter().any(|frozen| frozen.reason == "it is excluded"), "{:?}", pruned.report.frozen);
    for target in [Target::BlocksRemoved(4), Target::MacsKept(0.1)] {
        let failure = Failure::from(shallower(&model, target, &[]).unwrap_err());
        assert_eq!(failure.code, FailureCode::TargetUnreachable);
        assert!(failure.to_string().contains("neither operand"), "{failure}");
    }
}

/// `x + dense(x) + dense(that)`, where sums are the streams themselves and the last is the output.
fn stream(seen: bool) -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let first = net.dense("a", &x, 4, 4);
    let inside = net.node("Tanh", &[&first], &[]);
    let mut y = net.node("Add", &[&x, &inside], &[]);
    let branch = net.dense("b", &y, 4, 4);
    y = net.node("Add", &[&y, &branch], &[]);
    // x + x³ is an activation function, not a block.
    let cube = net.node("Mul", &[&y, &y], &[]);
    let cube = net.node("Mul", &[&cube, &y], &[]);
    y = net.node("Add", &[&y, &cube], &[]);
    if seen {
        net.b.output(&inside, DataType::Float, &["n".into(), 4.into()]);
    }
    net.finish(&y, &[4])
}

#[test]
fn chained_blocks_go_together_and_what_is_no_block_stays() {
    let model = stream(false);
    let pruned = shallower(&model, Target::BlocksRemoved(2), &[]).unwrap();
    assert_eq!(pruned.report.blocks.len(), 2);
    assert!(pruned.report.frozen.is_empty(), "{:?}", pruned.report.frozen);
    let operators: Vec<&str> =
        pruned.model.graph_proto().node.iter().map(crate::onnx::proto::NodeProto::op_type).collect();
    assert_eq!(operators, ["Mul", "Mul", "Add"]);
    assert_eq!(pruned.report.size_after.parameters, 0);
}

#[test]
fn a_block_that_others_look_into_stays_with_the_reason() {
    let pruned = shallower(&stream(true), Target::BlocksRemoved(1), &[]).unwrap();
    assert!(has(&pruned, "a") && !has(&pruned, "b"));
    assert!(pruned.report.frozen[0].reason.contains("is an output of the model"), "{:?}", pruned.report.frozen);
}
