//! Residual blocks left out.

use super::*;
use crate::data::test_files::labelled;
use crate::data::{Calibration, Dataset};
use crate::spec::attempt::DatasetLimits;
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

/// `x → x + a(relu(x))`, then `x + b(relu(-x))`: on samples of one sign one of the blocks does nothing.
fn signed() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let gated = net.node("Relu", &[&x], &[]);
    let (first, second) = (net.b.constant(&weights()), net.b.constant(&weights()));
    let branch = net.node("MatMul", &[&gated, &first], &[]);
    let y = net.node("Add", &[&x, &branch], &[]);
    let turned = net.node("Neg", &[&y], &[]);
    let gated = net.node("Relu", &[&turned], &[]);
    let branch = net.node("MatMul", &[&gated, &second], &[]);
    let y = net.node("Add", &[&y, &branch], &[]);
    let y = net.dense("head", &y, 4, 3);
    net.finish(&y, &[3])
}

/// Positive, so that a stream keeps its sign.
fn weights() -> Tensor {
    Tensor::from_f32(&[4, 4], &(0..16).map(|at| 0.1 + 0.05 * (at % 5) as f32).collect::<Vec<_>>())
}

#[test]
fn blocks_are_ranked_by_what_they_do_on_the_samples_of_a_dataset() {
    let model = signed();
    let spec = PruneRequest { method: Method::Depth, recovery: Some(Vec::new()), ..PruneRequest::default() };
    for (sign, idle) in [(1.0, 1), (-1.0, 0)] {
        let rows: Vec<f32> = (0..40 * 4).map(|at| sign * (1 + at * 7 % 11) as f32).collect();
        let file = labelled(&[40, 4], &rows, &[0; 40]);
        let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
        let calibration = Calibration::new(&dataset, &model, 20, 1).unwrap();
        let pruned = prune(&model, &spec.clone().parse().unwrap(), Some(&calibration), 1, &|_| {}).unwrap();
        let changes: Vec<f64> = pruned.report.blocks.iter().map(|block| block.change.unwrap()).collect();
        assert!(changes[idle] == 0.0 && changes[1 - idle] > 0.1, "{changes:?}");
        assert!(pruned.report.blocks[idle].removed && !pruned.report.blocks[1 - idle].removed);
        let drift = pruned.report.drift.expect("there are samples");
        assert!(drift.output_error < 1e-6, "{drift:?}");
    }
}

/// A block within a block: `x + a(x + b(x))`, or without the inner addition.
fn nested(inner: bool) -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.node("Tanh", &[&x], &[]);
    let entered = net.dense("enter", &y, 4, 4);
    let branch = net.dense("inner", &entered, 4, 4);
    let tiny = net.b.constant(&Tensor::from_f32(&[], &[0.01]));
    let branch = net.node("Mul", &[&branch, &tiny], &[]);
    let sum = net.node("Add", &[&entered, &branch], &[]);
    let within = if inner { sum } else { entered };
    let branch = net.dense("leave", &within, 4, 4);
    let y = net.node("Add", &[&y, &branch], &[]);
    let y = net.dense("head", &y, 4, 3);
    net.finish(&y, &[3])
}

#[test]
fn a_block_within_a_block_goes_by_itself_and_both_go_together() {
    let model = nested(true);
    let pruned = shallower(&model, Target::BlocksRemoved(1), &[]).unwrap();
    assert_eq!(pruned.report.blocks.len(), 2);
    assert!(has(&pruned, "enter") && !has(&pruned, "inner"));
    assert!(apart(&nested(false), &pruned.model, &[2, 4]) < 1e-6);
    let pruned = shallower(&model, Target::BlocksRemoved(2), &[]).unwrap();
    let left: Vec<&str> = ["enter", "inner", "leave", "head"].into_iter().filter(|name| has(&pruned, name)).collect();
    assert_eq!(left, ["head"]);
}
