//! Axes that statistics run over: the reference leaves out what is removed.

use super::*;

/// Two convolutions with a normalisation of eight channels between them, and its cut by half.
fn between_convolutions(opset: i64, rest: impl FnOnce(&mut Net, String) -> String) -> Pruned {
    let mut net = Net::new();
    let x = net.input(&[3, 6, 6]);
    let y = net.conv("a", &x, 3, 8);
    let y = rest(&mut net, y);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("b", &y, 8, 2);
    certified_on_one(&net.finish_in(&y, &[2, 6, 6], opset))
}

#[test]
fn the_residual_stream_of_a_transformer_is_cut_through_its_normalisations() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let stream = net.dense("a", &x, 4, 8);
    let (scale, shift) = (net.positive("scale", &[8]), net.weight("shift", &[8]));
    let y = net.node("LayerNormalization", &[&stream, &scale, &shift], &[("axis", Attribute::Int(1))]);
    let y = net.dense("up", &y, 8, 12);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.dense("down", &y, 12, 8);
    let y = net.node("Add", &[&y, &stream], &[]);
    let y = net.dense("head", &y, 8, 2);
    let pruned = certified(&net.finish(&y, &[2]));
    assert_eq!(
        (shape(&pruned, "scale"), shape(&pruned, "down"), shape(&pruned, "head")),
        (vec![4], vec![4, 6], vec![2, 4])
    );
}

#[test]
fn a_mean_square_normalisation_is_cut() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let scale = net.positive("scale", &[8]);
    let y = net.node("RMSNormalization", &[&y, &scale], &[]);
    let y = net.dense("b", &y, 8, 2);
    let pruned = certified_on_one(&net.finish_in(&y, &[2], 23));
    assert_eq!((shape(&pruned, "scale"), shape(&pruned, "b")), (vec![4], vec![2, 4]));
}

#[test]
fn groups_of_channels_lose_the_same_positions_or_go_as_a_whole() {
    for (opset, parameters) in [(21, 8), (18, 4)] {
        let pruned = between_convolutions(opset, |net, y| {
            let (scale, shift) = (net.positive("scale", &[parameters]), net.weight("shift", &[parameters]));
            net.node("GroupNormalization", &[&y, &scale, &shift], &[("num_groups", Attribute::Int(4))])
        });
        let graph = pruned.model.graph();
        let norm = graph.proto.node.iter().find(|node| node.is("GroupNormalization")).unwrap();
        let groups = norm.int("num_groups").unwrap();
        let channels = shape(&pruned, "a")[0];
        assert!(channels < 8 && channels % groups == 0, "{channels} channels in {groups} groups");
        assert_eq!(shape(&pruned, "scale"), [if opset < 21 { groups } else { channels }], "operator set {opset}");
    }
}

#[test]
fn group_normalisation_as_exporters_write_it_is_cut() {
    let pruned = between_convolutions(17, |net, y| {
        let (ones, zeros) = (net.positive("ones", &[2]), net.weight("zeros", &[2]));
        let groups = net.numbers(&[0, 2, -1]);
        let flat = net.node("Reshape", &[&y, &groups], &[]);
        let normal = net.node("InstanceNormalization", &[&flat, &ones, &zeros], &[]);
        let size = net.node("Shape", &[&y], &[]);
        let normal = net.node("Reshape", &[&normal, &size], &[]);
        let scale = net.positive("scale", &[8, 1, 1]);
        net.node("Mul", &[&normal, &scale], &[])
    });
    let channels = shape(&pruned, "a")[0];
    assert!(channels < 8 && channels % shape(&pruned, "ones")[0] == 0, "{channels}");
    assert_eq!(shape(&pruned, "scale"), [channels, 1, 1]);
}

#[test]
fn a_softmax_over_channels_shares_among_those_that_are_left() {
    for opset in [12, 17] {
        let pruned = between_convolutions(opset, |net, y| {
            let pooled = net.node("GlobalAveragePool", &[&y], &[]);
            let weights = net.node("Softmax", &[&pooled], &[("axis", Attribute::Int(1))]);
            net.node("Mul", &[&y, &weights], &[])
        });
        assert_eq!(shape(&pruned, "a")[0], 4, "operator set {opset}");
    }
}

#[test]
fn division_by_the_norm_of_the_channels_is_cut() {
    let pruned = between_convolutions(17, |net, y| net.node("LpNormalization", &[&y], &[("axis", Attribute::Int(1))]));
    assert_eq!(shape(&pruned, "a")[0], 4);
}

#[test]
fn logarithms_of_sums_and_products_leave_out_what_is_removed() {
    for op_type in ["ReduceLogSumExp", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL2"] {
        let pruned = between_convolutions(17, |net, y| {
            let reduced = net.node(op_type, &[&y], &[("axes", ints(&[1]))]);
            let reduced = net.node("Tanh", &[&reduced], &[]);
            net.node("Mul", &[&y, &reduced], &[])
        });
        assert_eq!(shape(&pruned, "a")[0], 4, "{op_type}");
    }
}

#[test]
fn group_normalisation_of_planes_of_an_open_size_is_cut() {
    let mut net = Net::new();
    let x = net.b.input("x", DataType::Float, &["n".into(), 3.into(), "h".into(), "w".into()]);
    let y = net.conv("a", &x, 3, 8);
    let (ones, zeros) = (net.positive("ones", &[1]), net.weight("zeros", &[1]));
    let one_group = net.numbers(&[0, 1, -1]);
    let flat = net.node("Reshape", &[&y, &one_group], &[]);
    let normal = net.node("InstanceNormalization", &[&flat, &ones, &zeros], &[]);
    let size = net.node("Shape", &[&y], &[]);
    let normal = net.node("Reshape", &[&normal, &size], &[]);
    let y = net.conv("b", &normal, 8, 2);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let pruned = certified_on_one(&net.finish(&y, &[2]));
    assert_eq!(shape(&pruned, "a")[0], 4);
}

#[test]
fn a_logarithm_along_another_axis_than_the_channels_is_no_infinity_at_those_that_go() {
    let mut net = Net::new();
    let x = net.b.input("x", DataType::Float, &["n".into(), 3.into(), "h".into(), "w".into()]);
    let y = net.conv("a", &x, 3, 8);
    let y = net.node("Sigmoid", &[&y], &[]);
    let y = net.node("ReduceLogSum", &[&y], &[("axes", ints(&[3]))]);
    let y = net.node("Flatten", &[&y], &[]);
    let w = net.weight("b", &[48, 2]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let mut model = net.finish(&y, &[2]);
    let example = |text: &str| PruneRequest {
        target: Some(Target::ChannelsRemoved(0.5)),
        round_to: Some(1.into()),
        example_shapes: [("x".to_owned(), vec![2, 3, 6, 6])].into(),
        ..serde_json::from_str(text).unwrap()
    };
    // Without this the runtime cannot know that the rows fit.
    model.graph_proto_mut().value_info.clear();
    let pruned = prune(&model, &example("{}").parse().unwrap(), None, 1, &|_| {}).unwrap();
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[0]), (4, 24));
}

#[test]
fn a_deviation_of_one_channel_that_stays_is_zero_to_the_last_bit() {
    let mut net = Net::new();
    let x = net.input(&[5, 4]);
    let w = net.weight("a", &[4, 3]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let mean = net.node("ReduceMean", &[&y], &[("axes", ints(&[-1]))]);
    let distance = net.node("Sub", &[&y, &mean], &[]);
    let tiny = net.b.constant(&Tensor::from_f32(&[], &[1e-8]));
    let y = net.node("Div", &[&distance, &tiny], &[]);
    let (scale, shift) = (net.positive("scale", &[3]), net.weight("shift", &[3]));
    let y = net.node("LayerNormalization", &[&y, &scale, &shift], &[("epsilon", Attribute::Float(1e-12))]);
    let w = net.weight("b", &[3, 2]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let spec = PruneSpec { target: Target::ChannelsRemoved(0.67), ..half() };
    let pruned = prune(&net.finish(&y, &[5, 2]), &spec, None, 1, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(shape(&pruned, "a")[1], 1);
}
