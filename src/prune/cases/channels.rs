//! Operators that make, pass and consume channels.

use super::*;

#[test]
fn a_chain_of_convolutions_gives_inner_channels_only() {
    let mut net = Net::new();
    let x = net.input(&[3, 6, 6]);
    let y = net.conv("a", &x, 3, 8);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("b", &y, 8, 4);
    let pruned = certified(&net.finish(&y, &[4, 6, 6]));
    assert_eq!(
        (shape(&pruned, "a"), shape(&pruned, "a.bias"), shape(&pruned, "b")),
        (vec![4, 3, 3, 3], vec![4], vec![4, 4, 3, 3])
    );
    assert_eq!(reason(&pruned, "b", 0), "-: it reaches the graph output `Conv__3`");
    assert_eq!(pruned.plan.unwrap().tensors.len(), 3);
}

#[test]
fn a_residual_sum_cuts_all_its_producers_alike() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let stem = net.conv("stem", &x, 3, 8);
    let inner = net.conv("inner", &stem, 8, 6);
    let inner = net.node("Relu", &[&inner], &[]);
    let outer = net.conv("outer", &inner, 6, 8);
    let sum = net.node("Add", &[&outer, &stem], &[]);
    let y = net.conv("head", &sum, 8, 2);
    let pruned = certified(&net.finish(&y, &[2, 5, 5]));
    assert_eq!(shape(&pruned, "stem")[0], shape(&pruned, "outer")[0]);
    assert_eq!(shape(&pruned, "stem")[0], shape(&pruned, "head")[1]);
    assert_eq!(pruned.report.groups.len(), 2);
}

#[test]
fn groups_lose_the_same_positions_or_go_whole() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let y = net.conv("a", &x, 3, 12);
    let y = net.grouped_conv("grouped", &y, 12, 18, 3);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("b", &y, 18, 4);
    let pruned = certified(&net.finish(&y, &[4, 5, 5]));
    let (a, grouped, b) = (shape(&pruned, "a"), shape(&pruned, "grouped"), shape(&pruned, "b"));
    let group = pruned.model.graph_proto().node[1].int("group").unwrap();
    assert_eq!((a[0] % group, grouped[0] % group, grouped[1]), (0, 0, a[0] / group));
    assert_eq!(b[1], grouped[0]);
    assert!(a[0] < 12 && grouped[0] < 18);
}

#[test]
fn depthwise_follows_its_producer_with_any_multiplier() {
    for multiplier in [1, 2] {
        let mut net = Net::new();
        let x = net.input(&[3, 5, 5]);
        let y = net.conv("a", &x, 3, 8);
        let y = net.grouped_conv("depthwise", &y, 8, 8 * multiplier, 8);
        let y = net.conv("b", &y, 8 * multiplier, 4);
        let pruned = certified(&net.finish(&y, &[4, 5, 5]));
        let channels = shape(&pruned, "a")[0];
        assert!(channels < 8);
        assert_eq!(pruned.model.graph_proto().node[1].int("group"), Some(channels));
        assert_eq!(shape(&pruned, "depthwise")[0] % channels, 0);
        assert_eq!(shape(&pruned, "b")[1], shape(&pruned, "depthwise")[0]);
    }
}

#[test]
fn convolutions_over_one_axis_and_transposed_ones() {
    let mut net = Net::new();
    let x = net.input(&[3, 10]);
    let w = net.weight("a", &[8, 3, 3]);
    let y = net.node("Conv", &[&x, &w], &[]);
    let w = net.weight("up", &[8, 6, 2]);
    let b = net.weight("up.bias", &[6]);
    let y = net.node("ConvTranspose", &[&y, &w, &b], &[("strides", ints(&[2]))]);
    let w = net.weight("b", &[2, 6, 1]);
    let y = net.node("Conv", &[&y, &w], &[]);
    let pruned = certified(&net.finish(&y, &[2, 16]));
    assert_eq!(shape(&pruned, "up")[..2], [shape(&pruned, "a")[0], shape(&pruned, "b")[1]]);
    assert!(shape(&pruned, "up")[0] < 8 && shape(&pruned, "up")[1] < 6);
}

#[test]
fn a_grouped_transposed_convolution() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let y = net.conv("a", &x, 3, 8);
    let w = net.weight("up", &[8, 3, 2, 2]);
    let y = net.node("ConvTranspose", &[&y, &w], &[("group", Attribute::Int(2))]);
    let y = net.conv("b", &y, 6, 2);
    let pruned = certified(&net.finish(&y, &[2, 6, 6]));
    let group = pruned.model.graph_proto().node[1].int("group").unwrap();
    assert_eq!(shape(&pruned, "up")[1] * group, shape(&pruned, "b")[1]);
    assert_eq!(shape(&pruned, "up")[0], shape(&pruned, "a")[0]);
}

#[test]
fn matrix_products_in_every_orientation() {
    let mut net = Net::new();
    let x = net.input(&[6]);
    let w = net.weight("a", &[6, 12]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let b = net.weight("a.bias", &[12]);
    let y = net.node("Add", &[&b, &y], &[]);
    let w = net.weight("b", &[12, 10]);
    let c = net.weight("b.bias", &[1, 10]);
    let y = net.node("Gemm", &[&y, &w, &c], &[("alpha", Attribute::Float(0.5)), ("beta", Attribute::Float(2.0))]);
    let y = net.node("Tanh", &[&y], &[]);
    let w = net.weight("c", &[8, 10]);
    let y = net.node("Gemm", &[&y, &w], &[("transB", Attribute::Int(1))]);
    let turned = net.node("Transpose", &[&y], &[("perm", ints(&[1, 0]))]);
    let w = net.weight("d", &[8, 5]);
    let y = net.node("Gemm", &[&turned, &w], &[("transA", Attribute::Int(1))]);
    let w = net.weight("e", &[5, 3]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let pruned = certified(&net.finish(&y, &[3]));
    assert_eq!(shape(&pruned, "a")[1], shape(&pruned, "b")[0]);
    assert_eq!(shape(&pruned, "a.bias")[0], shape(&pruned, "b")[0]);
    assert_eq!(shape(&pruned, "b")[1], shape(&pruned, "c")[1]);
    assert_eq!(shape(&pruned, "c")[0], shape(&pruned, "d")[0]);
    assert_eq!(shape(&pruned, "d")[1], shape(&pruned, "e")[0]);
    assert!(shape(&pruned, "a")[1] < 12 && shape(&pruned, "c")[0] < 8);
}

#[test]
fn a_constant_on_the_left_of_a_product() {
    let mut net = Net::new();
    let x = net.input(&[6, 5]);
    let w = net.weight("a", &[12, 6]);
    let y = net.node("MatMul", &[&w, &x], &[]);
    let y = net.node("Sigmoid", &[&y], &[]);
    let w = net.weight("b", &[4, 12]);
    let y = net.node("MatMul", &[&w, &y], &[]);
    let pruned = certified(&net.finish(&y, &[4, 5]));
    assert_eq!((shape(&pruned, "a"), shape(&pruned, "b")), (vec![6, 6], vec![4, 6]));
}

#[test]
fn normalisation_by_channel_is_cut_with_its_channel() {
    for op_type in ["BatchNormalization", "InstanceNormalization"] {
        let mut net = Net::new();
        let x = net.input(&[3, 5, 5]);
        let y = net.conv("a", &x, 3, 8);
        let (scale, bias) = (net.positive("scale", &[8]), net.weight("shift", &[8]));
        let mut inputs = vec![y, scale, bias];
        if op_type == "BatchNormalization" {
            inputs.extend([net.weight("mean", &[8]), net.positive("var", &[8])]);
        }
        let y = net.node(op_type, &inputs.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let y = net.conv("b", &y, 8, 4);
        let pruned = certified(&net.finish(&y, &[4, 5, 5]));
        assert_eq!((shape(&pruned, "scale"), shape(&pruned, "shift")), (vec![4], vec![4]));
    }
}

#[test]
fn a_gate_over_channels_follows_the_channels_that_it_gates() {
    let mut net = Net::new();
    let x = net.input(&[3, 6, 6]);
    let y = net.conv("a", &x, 3, 8);
    let pooled = net.node("GlobalAveragePool", &[&y], &[]);
    let gate = net.conv("squeeze", &pooled, 8, 4);
    let gate = net.node("Relu", &[&gate], &[]);
    let gate = net.conv("excite", &gate, 4, 8);
    let gate = net.node("HardSigmoid", &[&gate], &[]);
    let y = net.node("Mul", &[&y, &gate], &[]);
    let slope = net.weight("slope", &[8, 1, 1]);
    let y = net.node("PRelu", &[&y, &slope], &[]);
    let y = net.node("MaxPool", &[&y], &[("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))]);
    let y = net.conv("b", &y, 8, 2);
    let pruned = certified(&net.finish(&y, &[2, 3, 3]));
    let channels = shape(&pruned, "a")[0];
    assert!(channels < 8);
    assert_eq!(
        (shape(&pruned, "excite")[0], shape(&pruned, "squeeze")[1], shape(&pruned, "slope")[0]),
        (channels, channels, channels)
    );
}

#[test]
fn reductions_over_planes_and_over_channels() {
    let mut net = Net::new();
    let x = net.input(&[3, 6, 6]);
    let y = net.conv("a", &x, 3, 8);
    let mean = net.node("ReduceMean", &[&y], &[("axes", ints(&[1]))]);
    let largest = net.node("ReduceMax", &[&y], &[("axes", ints(&[-3]))]);
    let both = net.node("Concat", &[&mean, &largest], &[("axis", Attribute::Int(1))]);
    let gate = net.conv("spatial", &both, 2, 1);
    let gate = net.node("Sigmoid", &[&gate], &[]);
    let y = net.node("Mul", &[&y, &gate], &[]);
    let axes = net.numbers(&[2, 3]);
    let y = net.node("ReduceSum", &[&y, &axes], &[("keepdims", Attribute::Int(0))]);
    let y = net.dense("b", &y, 8, 4);
    let pruned = certified(&net.finish(&y, &[4]));
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[1]), (4, 4));
}

#[test]
fn channels_last_graphs_with_transposes_around_their_convolutions() {
    let mut net = Net::new();
    let x = net.input(&[6, 6, 3]);
    let y = net.node("Transpose", &[&x], &[("perm", ints(&[0, 3, 1, 2]))]);
    let y = net.conv("a", &y, 3, 8);
    let y = net.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 3, 1]))]);
    let bias = net.weight("bias", &[8]);
    let y = net.node("Add", &[&y, &bias], &[]);
    let w = net.weight("b", &[8, 4]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let pruned = certified(&net.finish(&y, &[6, 6, 4]));
    assert_eq!((shape(&pruned, "bias"), shape(&pruned, "b")), (vec![4], vec![4, 4]));
}

#[test]
fn widths_are_rounded_up_and_never_above_the_original() {
    let mut net = Net::new();
    let x = net.input(&[3, 4, 4]);
    let y = net.conv("a", &x, 3, 20);
    let y = net.conv("b", &y, 20, 6);
    let y = net.conv("c", &y, 6, 4);
    let model = net.finish(&y, &[4, 4, 4]);
    let target = Some(Target::ChannelsRemoved(0.3));
    let spec = PruneRequest { target, ..PruneRequest::default() }.parse().unwrap();
    let pruned = prune(&model, &spec, None, 1, &|_| {}).unwrap();
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[0]), (8, 6));
}

#[test]
fn dead_channels_are_a_finding_and_the_check_is_repeated_with_random_weights() {
    let mut net = Net::new();
    let x = net.input(&[3, 4, 4]);
    let mut w = net.random(&[8, 3, 1, 1]).to_f32().unwrap().into_owned();
    w[..12].fill(0.0);
    let w = net.b.initializer("a", &Tensor::from_f32(&[8, 3, 1, 1], &w));
    let y = net.node("Conv", &[&x, &w], &[]);
    let mut consumer = net.random(&[2, 8, 1, 1]).to_f32().unwrap().into_owned();
    consumer[..4].fill(0.0);
    consumer[8..12].fill(0.0);
    let w = net.b.initializer("b", &Tensor::from_f32(&[2, 8, 1, 1], &consumer));
    let y = net.node("Conv", &[&y, &w], &[]);
    let pruned = prune(&net.finish(&y, &[2, 4, 4]), &half(), None, 1, &|_| {}).unwrap();
    assert_eq!(pruned.plan.as_ref().unwrap().tensors[0].axes[0].removed, [0, 1, 2, 3]);
    let certificate = proof(&pruned);
    assert!(certificate.vacuous_on_own_weights && certificate.checks.iter().any(|check| check.weights == "random"));
    assert_eq!(pruned.findings.len(), 1);
}

#[test]
fn a_weight_that_is_not_a_number_is_an_error() {
    let mut net = Net::new();
    let x = net.input(&[2]);
    let w = net.b.initializer("a", &Tensor::from_f32(&[2, 2], &[1.0, f32::NAN, 0.0, 2.0]));
    let y = net.node("MatMul", &[&x, &w], &[]);
    let w = net.weight("b", &[2, 2]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let error = prune(&net.finish(&y, &[2]), &half(), None, 1, &|_| {}).unwrap_err();
    assert_eq!(error.to_string(), "the weight `a` holds a value that is not a number");
}
