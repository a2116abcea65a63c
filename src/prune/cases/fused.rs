//! Operators of ONNX Runtime's optimizer, and attention as one operator.

use super::*;

/// A sequence of five between two dense layers, `rest` turning eight channels into eight.
fn around_sequence(opset: i64, rest: impl FnOnce(&mut Net, String) -> String) -> Pruned {
    let mut net = Net::new();
    net.b.import("com.microsoft", 1);
    let x = net.input(&[5, 4]);
    let y = dense(&mut net, "a", &x, 4, 8);
    let y = rest(&mut net, y);
    let y = dense(&mut net, "b", &y, 8, 2);
    certified_on_one(&net.finish_in(&y, &[5, 2], opset))
}

fn dense(net: &mut Net, name: &str, x: &str, c_in: usize, c_out: usize) -> String {
    let w = net.weight(name, &[c_in, c_out]);
    net.node("MatMul", &[x, &w], &[])
}

fn count(pruned: &Pruned, op_type: &str, attribute: &str) -> i64 {
    let graph = pruned.model.graph();
    let node = graph.proto.node.iter().find(|node| node.op_type() == op_type).unwrap();
    node.int(attribute).unwrap()
}

#[test]
fn a_sum_that_is_normalised_in_one_operator_is_cut() {
    for (op_type, has_shift) in [("SkipLayerNormalization", true), ("SkipSimplifiedLayerNormalization", false)] {
        let pruned = around_sequence(17, |net, y| {
            let inner = dense(net, "inner", &y, 8, 8);
            let (scale, shift) = (net.positive("scale", &[8]), net.weight("shift", &[8]));
            let bias = net.weight("bias", &[8]);
            let inputs: &[&str] =
                if has_shift { &[&inner, &y, &scale, &shift, &bias] } else { &[&inner, &y, &scale, &bias] };
            let y = net.fused(op_type, inputs, &[]);
            net.fused("Gelu", &[&y], &[])
        });
        assert_eq!((shape(&pruned, "scale"), shape(&pruned, "bias")), (vec![4], vec![4]), "{op_type}");
        assert_eq!((shape(&pruned, "inner"), shape(&pruned, "b")), (vec![4, 4], vec![4, 2]), "{op_type}");
    }
}

#[test]
fn packed_attention_loses_whole_heads_and_channels_of_its_input() {
    let pruned = around_sequence(17, |net, y| {
        let (w, b) = (net.weight("qkv", &[8, 24]), net.weight("qkv.bias", &[24]));
        net.fused("Attention", &[&y, &w, &b], &[("num_heads", Attribute::Int(4))])
    });
    let heads = count(&pruned, "Attention", "num_heads");
    assert!(heads < 4 && shape(&pruned, "a")[1] < 8);
    assert_eq!(shape(&pruned, "qkv"), [shape(&pruned, "a")[1], 3 * heads * 2]);
    assert_eq!((shape(&pruned, "qkv.bias"), shape(&pruned, "b")), (vec![3 * heads * 2], vec![heads * 2, 2]));
}

#[test]
fn attention_of_separate_projections_loses_whole_heads() {
    let pruned = around_sequence(17, |net, y| {
        let parts = ["q", "k", "v"].map(|name| dense(net, name, &y, 8, 8));
        let attributes = [("num_heads", Attribute::Int(4))];
        net.fused("MultiHeadAttention", &[&parts[0], &parts[1], &parts[2]], &attributes)
    });
    let heads = count(&pruned, "MultiHeadAttention", "num_heads");
    assert!(heads < 4);
    for name in ["q", "k", "v"] {
        assert_eq!(shape(&pruned, name)[1], heads * 2, "{name}");
    }
}

#[test]
fn grouped_queries_go_with_the_head_that_they_share() {
    let pruned = around_sequence(23, |net, y| {
        let (q, k) = (dense(net, "q", &y, 8, 8), dense(net, "k", &y, 8, 4));
        let v = dense(net, "v", &y, 8, 4);
        let attributes = [("q_num_heads", Attribute::Int(4)), ("kv_num_heads", Attribute::Int(2))];
        net.node("Attention", &[&q, &k, &v], &attributes)
    });
    assert_eq!(count(&pruned, "Attention", "q_num_heads"), 2 * count(&pruned, "Attention", "kv_num_heads"));
    assert_eq!((shape(&pruned, "q")[1], shape(&pruned, "k")[1], shape(&pruned, "v")[1]), (4, 2, 2));
}

#[test]
fn fused_convolutions_and_products_are_cut_as_what_they_are_made_of() {
    let mut net = Net::new();
    net.b.import("com.microsoft", 1);
    let x = net.input(&[3, 5, 5]);
    let first = net.conv("a", &x, 3, 8);
    let (w, b) = (net.weight("fused", &[8, 8, 1, 1]), net.weight("fused.bias", &[8]));
    let relu = [("activation", Attribute::String("Relu".into()))];
    let y = net.fused("FusedConv", &[&first, &w, &b, &first], &relu);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let w = net.weight("turned", &[6, 8]);
    let y = net.fused("FusedMatMul", &[&y, &w], &[("transB", Attribute::Int(1)), ("alpha", Attribute::Float(0.5))]);
    let y = net.dense("b", &y, 6, 2);
    let pruned = certified_on_one(&net.finish(&y, &[2]));
    assert!(shape(&pruned, "a")[0] < 8 && shape(&pruned, "turned")[0] < 6);
    assert_eq!(shape(&pruned, "fused"), [shape(&pruned, "a")[0], shape(&pruned, "a")[0], 1, 1]);
    assert_eq!(shape(&pruned, "turned")[1], shape(&pruned, "a")[0]);
}
