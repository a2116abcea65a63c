//! Blocks of known architectures that tools which follow patterns or gradients trip over, each on a small graph.

use super::*;
use crate::spec::prune::Scope;

/// Cut by half of every group, with a certificate of ONNX Runtime at least.
fn halved(model: &Model) -> Pruned {
    let spec = PruneSpec { scope: Scope::Local, ..half() };
    let pruned = prune(model, &spec, None, 1, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
    let certificate = proof(&pruned);
    assert!(certificate.passed && !certificate.vacuous_on_own_weights, "{certificate:?}");
    pruned
}

fn project(net: &mut Net, name: &str, x: &str, c_in: usize, c_out: usize) -> String {
    let w = net.weight(name, &[c_in, c_out]);
    net.node("MatMul", &[x, &w], &[])
}

fn reshape(net: &mut Net, x: &str, target: &[i64]) -> String {
    let target = net.numbers(target);
    net.node("Reshape", &[x, &target], &[])
}

fn transpose(net: &mut Net, x: &str, perm: &[i64]) -> String {
    net.node("Transpose", &[x], &[("perm", ints(perm))])
}

fn normalise(net: &mut Net, name: &str, x: &str, width: usize) -> String {
    let (scale, shift) = (net.positive(name, &[width]), net.weight(&format!("{name}.shift"), &[width]));
    net.node("LayerNormalization", &[x, &scale, &shift], &[])
}

/// ShuffleNet: the channels of two groups are dealt out in turn.
#[test]
fn a_channel_shuffle_between_grouped_convolutions_is_cut() {
    let mut net = Net::new();
    let x = net.input(&[4, 4, 4]);
    let y = net.grouped_conv("a", &x, 4, 12, 2);
    let y = reshape(&mut net, &y, &[-1, 2, 6, 4, 4]);
    let y = transpose(&mut net, &y, &[0, 2, 1, 3, 4]);
    let y = reshape(&mut net, &y, &[-1, 12, 4, 4]);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("b", &y, 12, 2);
    let pruned = halved(&net.finish(&y, &[2, 4, 4]));
    let channels = shape(&pruned, "a")[0];
    assert!(channels < 12 && channels == shape(&pruned, "b")[1], "{channels}");
}

/// YOLO's C2f: a part of the channels goes through a convolution, and everything is joined again.
#[test]
fn blocks_that_split_and_join_their_channels_are_cut() {
    let mut net = Net::new();
    let x = net.input(&[3, 4, 4]);
    let y = net.conv("stem", &x, 3, 8);
    let sizes = net.numbers(&[4, 4]);
    let parts = net.b.nodes("Split", &[&y, &sizes], &[("axis", Attribute::Int(1))], 2);
    let inner = net.conv("inner", &parts[1], 4, 4);
    let sum = net.node("Add", &[&inner, &parts[1]], &[]);
    let y = net.node("Concat", &[&parts[0], &parts[1], &sum], &[("axis", Attribute::Int(1))]);
    let y = net.conv("join", &y, 12, 2);
    let pruned = halved(&net.finish(&y, &[2, 4, 4]));
    let (stem, inner) = (shape(&pruned, "stem")[0], shape(&pruned, "inner"));
    assert!(stem < 8 && inner[0] < 4 && inner[0] == inner[1]);
    assert_eq!(shape(&pruned, "join")[1], stem + inner[0]);
}

/// Swin: windows of a rolled image are sequences with attention, and are put together and rolled back.
#[test]
fn windows_that_are_rolled_attended_to_and_rolled_back_are_cut() {
    let mut net = Net::new();
    let x = net.input(&[3, 4, 4]);
    let y = net.conv("embed", &x, 3, 8);
    let y = transpose(&mut net, &y, &[0, 2, 3, 1]);
    let roll = |net: &mut Net, y: &str, cut: i64| {
        let axis = net.numbers(&[1]);
        let (zero, cut, end) = (net.numbers(&[0]), net.numbers(&[cut]), net.numbers(&[i64::MAX]));
        let front = net.node("Slice", &[y, &zero, &cut, &axis], &[]);
        let back = net.node("Slice", &[y, &cut, &end, &axis], &[]);
        net.node("Concat", &[&back, &front], &[("axis", Attribute::Int(1))])
    };
    let stream = y.clone();
    let y = normalise(&mut net, "norm", &y, 8);
    let y = roll(&mut net, &y, 1);
    let y = reshape(&mut net, &y, &[-1, 2, 2, 2, 2, 8]);
    let y = transpose(&mut net, &y, &[0, 1, 3, 2, 4, 5]);
    let y = reshape(&mut net, &y, &[-1, 4, 8]);
    let packed = project(&mut net, "qkv", &y, 8, 24);
    let packed = reshape(&mut net, &packed, &[-1, 4, 3, 2, 4]);
    let packed = transpose(&mut net, &packed, &[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|at| {
        let at = net.b.constant(&Tensor::from_i64(&[], &[at]));
        net.node("Gather", &[&packed, &at], &[("axis", Attribute::Int(0))])
    });
    let k = transpose(&mut net, &k, &[0, 1, 3, 2]);
    let scores = net.node("MatMul", &[&q, &k], &[]);
    let scores = net.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
    let y = net.node("MatMul", &[&scores, &v], &[]);
    let y = transpose(&mut net, &y, &[0, 2, 1, 3]);
    let y = reshape(&mut net, &y, &[-1, 4, 8]);
    let y = project(&mut net, "out", &y, 8, 8);
    let y = reshape(&mut net, &y, &[-1, 2, 2, 2, 2, 8]);
    let y = transpose(&mut net, &y, &[0, 1, 3, 2, 4, 5]);
    let y = reshape(&mut net, &y, &[-1, 4, 4, 8]);
    let y = roll(&mut net, &y, 3);
    let y = net.node("Add", &[&y, &stream], &[]);
    let y = net.node("ReduceMean", &[&y], &[("axes", ints(&[1, 2])), ("keepdims", Attribute::Int(0))]);
    let y = net.dense("head", &y, 8, 2);
    let pruned = halved(&net.finish(&y, &[2]));
    let stream = shape(&pruned, "embed")[0];
    let (qkv, out) = (shape(&pruned, "qkv"), shape(&pruned, "out"));
    assert!(stream < 8 && qkv[1] < 24 && qkv[1] % 3 == 0, "{qkv:?}");
    assert_eq!((qkv[0], out[1], shape(&pruned, "head")[1]), (stream, stream, stream));
    assert_eq!(shape(&pruned, "norm"), [stream]);
}

/// MLP-Mixer: one block mixes the tokens, another the channels.
#[test]
fn a_mixer_loses_neurons_of_both_kinds_and_channels_of_its_stream() {
    let mut net = Net::new();
    let x = net.input(&[6, 4]);
    let y = project(&mut net, "embed", &x, 4, 8);
    let normed = normalise(&mut net, "norm1", &y, 8);
    let turned = transpose(&mut net, &normed, &[0, 2, 1]);
    let tokens = project(&mut net, "tokens.up", &turned, 6, 10);
    let tokens = net.node("Relu", &[&tokens], &[]);
    let tokens = project(&mut net, "tokens.down", &tokens, 10, 6);
    let turned = transpose(&mut net, &tokens, &[0, 2, 1]);
    let y = net.node("Add", &[&y, &turned], &[]);
    let normed = normalise(&mut net, "norm2", &y, 8);
    let channels = project(&mut net, "channels.up", &normed, 8, 12);
    let channels = net.node("Relu", &[&channels], &[]);
    let channels = project(&mut net, "channels.down", &channels, 12, 8);
    let y = net.node("Add", &[&y, &channels], &[]);
    let y = project(&mut net, "head", &y, 8, 3);
    let pruned = halved(&net.finish(&y, &[6, 3]));
    assert_eq!((shape(&pruned, "tokens.up"), shape(&pruned, "tokens.down")), (vec![6, 5], vec![5, 6]));
    assert_eq!((shape(&pruned, "channels.up"), shape(&pruned, "channels.down")), (vec![4, 6], vec![6, 4]));
    assert_eq!((shape(&pruned, "embed"), shape(&pruned, "head")), (vec![4, 4], vec![4, 3]));
}

/// A language model: the embedding is the projection onto the vocabulary too.
#[test]
fn an_embedding_that_is_the_output_projection_as_well_stays_one_weight() {
    for turned in [false, true] {
        let mut net = Net::new();
        let ids = net.b.input("ids", DataType::Int64, &["n".into(), 5.into()]);
        let table = net.weight("table", &[11, 8]);
        let y = net.node("Gather", &[&table, &ids], &[]);
        let y = normalise(&mut net, "norm", &y, 8);
        let up = project(&mut net, "up", &y, 8, 12);
        let up = net.node("Relu", &[&up], &[]);
        let down = project(&mut net, "down", &up, 12, 8);
        let y = net.node("Add", &[&y, &down], &[]);
        let y = if turned {
            let w = transpose(&mut net, &table, &[1, 0]);
            net.node("MatMul", &[&y, &w], &[])
        } else {
            let y = reshape(&mut net, &y, &[-1, 8]);
            let y = net.node("Gemm", &[&y, &table], &[("transB", Attribute::Int(1))]);
            reshape(&mut net, &y, &[-1, 5, 11])
        };
        let pruned = halved(&net.finish(&y, &[5, 11]));
        assert_eq!((shape(&pruned, "table"), shape(&pruned, "norm")), (vec![11, 4], vec![4]), "{turned}");
        assert!(pruned.model.graph().initializer("table_cut1").is_none());
    }
}

/// Detectors: what is sorted and suppressed at the end stays, with the operator as the reason; the layers before are cut.
#[test]
fn tails_that_choose_boxes_stay_with_a_reason() {
    let mut net = Net::new();
    let x = net.input(&[3, 4, 4]);
    let y = net.conv("a", &x, 3, 8);
    let y = net.node("Relu", &[&y], &[]);
    let boxes = net.conv("boxes", &y, 8, 4);
    let scores = net.conv("scores", &y, 8, 2);
    let scores = net.node("Sigmoid", &[&scores], &[]);
    let boxes = reshape(&mut net, &boxes, &[-1, 4, 16]);
    let boxes = transpose(&mut net, &boxes, &[0, 2, 1]);
    let scores = reshape(&mut net, &scores, &[-1, 2, 16]);
    let most = net.numbers(&[3]);
    let bound = net.b.constant(&Tensor::from_f32(&[1], &[0.5]));
    let chosen = net.node("NonMaxSuppression", &[&boxes, &scores, &most, &bound], &[]);
    let few = net.numbers(&[5]);
    let best = net.b.nodes("TopK", &[&scores, &few], &[], 2);
    net.b.output(&chosen, DataType::Int64, &["chosen".into(), 3.into()]);
    let model = net.finish(&best[0], &[2, 5]);
    let pruned = halved(&model);
    assert_eq!(
        (shape(&pruned, "a")[0], shape(&pruned, "boxes"), shape(&pruned, "scores")[0]),
        (4, vec![4, 4, 3, 3], 2)
    );
    assert!(reason(&pruned, "boxes", 0).contains("boxes are chosen"), "{}", reason(&pruned, "boxes", 0));
}

/// Grouped queries of ONNX Runtime, with positions turned.
#[test]
fn heads_of_keys_go_with_all_queries_that_read_them() {
    let mut net = Net::new();
    net.b.import("com.microsoft", 1);
    let x = net.input(&[4, 6]);
    let y = project(&mut net, "embed", &x, 6, 8);
    let [q, k, v] = [("q", 32), ("k", 16), ("v", 16)].map(|(name, width)| project(&mut net, name, &y, 8, width));
    let [cos, sin] = ["cos", "sin"].map(|name| net.weight(name, &[4, 4]));
    let start = net.numbers(&[0]);
    let turn = |net: &mut Net, x: &str, heads: i64| {
        net.fused("RotaryEmbedding", &[x, &start, &cos, &sin], &[("num_heads", Attribute::Int(heads))])
    };
    let (q, k) = (turn(&mut net, &q, 4), turn(&mut net, &k, 2));
    let size = net.node("Shape", &[&x], &[]);
    let zero = net.numbers(&[0]);
    let batch = net.node("Gather", &[&size, &zero], &[]);
    let number = |net: &mut Net, shape: &[usize], value: i32| {
        net.b.constant(&Tensor::from_bytes(DataType::Int32, shape, value.to_le_bytes().to_vec().into()).unwrap())
    };
    let last = number(&mut net, &[1], 3);
    let lengths = net.node("Expand", &[&last, &batch], &[]);
    let total = number(&mut net, &[], 4);
    let attributes = [("num_heads", Attribute::Int(4)), ("kv_num_heads", Attribute::Int(2))];
    let outputs = ["y", "present_key", "present_value"].map(|stem| net.b.fresh(stem));
    net.b.raw_node(
        "com.microsoft",
        "GroupQueryAttention",
        &[&q, &k, &v, "", "", &lengths, &total],
        &attributes,
        &outputs,
    );
    let y = project(&mut net, "out", &outputs[0], 32, 8);
    let y = project(&mut net, "head", &y, 8, 2);
    let pruned = halved(&net.finish(&y, &[4, 2]));
    let width = |name: &str| shape(&pruned, name)[1];
    assert_eq!((width("q"), width("k"), width("v"), shape(&pruned, "out")[0]), (16, 8, 8, 16));
}
