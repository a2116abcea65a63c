//! Targets of measured time on ONNX Runtime.

use std::collections::BTreeMap;

use super::*;
use crate::onnx::shape::infer;
use crate::prune::allocate::AllocateError;
use crate::prune::latency::Clock;
use crate::spec::prune::Target;

/// Two convolutions that take some milliseconds, a residual sum, and sizes computed from shapes.
fn net() -> Model {
    let mut net = Net::new();
    let x = net.input(&[16, 40, 40]);
    let y = net.conv("stem", &x, 16, 64);
    let y = net.node("Relu", &[&y], &[]);
    let z = net.conv("inner", &y, 64, 96);
    let z = net.node("Relu", &[&z], &[]);
    let z = net.conv("outer", &z, 96, 64);
    let y = net.node("Add", &[&z, &y], &[]);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let shape = net.node("Shape", &[&y], &[]);
    let (first, last) = (net.numbers(&[0]), net.numbers(&[-1]));
    let batch = net.node("Gather", &[&shape, &first], &[("axis", Attribute::Int(0))]);
    let target = net.node("Concat", &[&batch, &last], &[("axis", Attribute::Int(0))]);
    let y = net.node("Reshape", &[&y, &target], &[]);
    let y = net.dense("head", &y, 64, 10);
    net.finish(&y, &[10])
}

fn request(target: Target) -> PruneSpec {
    PruneRequest { target: Some(target), ..PruneRequest::default() }.parse().unwrap()
}

#[test]
fn a_model_is_cut_until_it_takes_the_asked_share_of_its_time_and_the_report_says_what_was_measured() {
    let model = net();
    let pruned = prune(&model, &request(Target::LatencyKept(0.6)), None, 1, &|_| {}).unwrap();
    let latency = pruned.report.latency.as_ref().unwrap();
    assert!(latency.after_ms <= 0.6 * latency.before_ms, "{latency:?}");
    assert!(pruned.report.removed > 0.0, "{latency:?}");
    assert!((1..=6).contains(&latency.rounds) && latency.threads == 1, "{latency:?}");
    // Predictions go on from what was measured before; those of the last round know nearly all parts.
    assert!(latency.parts_timed > 0 && latency.parts_known > 0, "{latency:?}");
    assert!(proof(&pruned).passed);
}

#[test]
fn a_time_that_no_cut_reaches_is_refused_with_the_best() {
    let error = prune(&net(), &request(Target::LatencyMs(1e-5)), None, 1, &|_| {}).unwrap_err();
    let PruneError::Allocate(AllocateError::Unreachable { target, best, .. }) = &error else { panic!("{error}") };
    assert_eq!(target, "latency_ms 0.00001");
    let best: f64 = best.parse().unwrap();
    assert!(best > 1e-5 && best < 50.0, "{best}");
}

#[test]
fn what_one_job_measured_the_next_one_knows() {
    let folder = tempfile::tempdir().unwrap();
    let model = net();
    let parts = || {
        let host = Host::join(folder.path()).unwrap();
        let clock = Clock::new(&model, &BTreeMap::new(), 1, &host).unwrap();
        assert!(clock.is_undisturbed());
        clock.parts()
    };
    // The stem, the two convolutions after it with what follows, and the head.
    assert_eq!(parts(), (4, 0));
    assert_eq!(parts(), (0, 4));
}

#[test]
fn the_parts_of_a_model_are_its_layers_with_what_follows_them() {
    let model = net();
    let shapes = BTreeMap::from([("x".to_owned(), vec![1, 16, 40, 40])]);
    let inferred = crate::onnx::shape::infer_with(&model, &shapes);
    let feeds = vec![("x".to_owned(), Net::new().random(&[1, 16, 40, 40]))];
    let parts = crate::prune::latency::parts(&model, &inferred, &feeds);
    let operators = |model: &Model| model.graph_proto().node.iter().map(|n| n.op_type().to_owned()).collect::<Vec<_>>();
    let operators: Vec<Vec<String>> = parts.iter().map(|part| operators(&part.model)).collect();
    assert_eq!(operators[..2], [["Conv", "Relu"], ["Conv", "Relu"]]);
    assert_eq!(operators[2][..3], ["Conv", "Add", "GlobalAveragePool"]);
    assert_eq!(operators[3], ["Gemm"]);
    // What crosses has the shape that it has in the whole.
    assert_eq!(parts[2].feeds.iter().map(|(_, feed)| feed.shape[1]).collect::<Vec<_>>(), [64, 96]);
}

#[test]
fn open_axes_need_an_example() {
    let mut net = Net::new();
    let x = net.b.input("x", DataType::Float, &["n".into(), "length".into(), 8.into()]);
    let (w, v) = (net.weight("w", &[8, 16]), net.weight("v", &[16, 4]));
    let y = net.node("MatMul", &[&x, &w], &[]);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.node("MatMul", &[&y, &v], &[]);
    net.b.output(&y, DataType::Float, &["n".into(), "length".into(), 4.into()]);
    let model = net.b.build(17);
    assert!(infer(&model).unknown().is_empty());
    let error = prune(&model, &request(Target::LatencyKept(0.9)), None, 1, &|_| {}).unwrap_err();
    let failure = crate::spec::failure::Failure::from(error);
    assert_eq!(failure.place.as_deref(), Some("/spec/example_shapes"));
    assert!(failure.message.contains("`length`"), "{}", failure.message);
}

#[test]
fn a_model_with_graphs_inside_of_nodes_is_timed_too() {
    match prune(&super::bodies::branches(), &request(Target::LatencyKept(0.99)), None, 1, &|_| {}) {
        Ok(pruned) => assert!(proof(&pruned).passed),
        // So small a model may take as long whatever is cut.
        Err(PruneError::Allocate(AllocateError::Unreachable { .. })) => {}
        Err(error) => panic!("{error}"),
    }
}
