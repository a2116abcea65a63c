//! Axes that are joined and divided.

use super::*;

#[test]
fn joined_branches_are_cut_by_their_offsets() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let a = net.conv("a", &x, 3, 6);
    let b = net.conv("b", &a, 6, 4);
    let ab = net.node("Concat", &[&a, &b], &[("axis", Attribute::Int(1))]);
    let c = net.conv("c", &ab, 10, 4);
    let abc = net.node("Concat", &[&ab, &c, &a], &[("axis", Attribute::Int(-3))]);
    let y = net.conv("head", &abc, 20, 3);
    let pruned = certified(&net.finish(&y, &[3, 5, 5]));
    let width = |name: &str| shape(&pruned, name)[0];
    assert_eq!(shape(&pruned, "c")[1], width("a") + width("b"));
    assert_eq!(shape(&pruned, "head")[1], 2 * width("a") + width("b") + width("c"));
}

#[test]
fn parts_of_an_axis_that_meet_again_are_cut_together() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let y = net.conv("a", &x, 3, 12);
    let parts = net.b.nodes("Split", &[&y], &[("axis", Attribute::Int(1))], 2);
    let gate = net.node("Sigmoid", &[&parts[1]], &[]);
    let y = net.node("Mul", &[&parts[0], &gate], &[]);
    let y = net.conv("b", &y, 6, 2);
    let pruned = certified(&net.finish(&y, &[2, 5, 5]));
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[1]), (6, 3));
    let removed = &pruned.plan.unwrap().tensors[0].axes[0].removed;
    assert_eq!(removed[..3].iter().map(|index| index + 6).collect::<Vec<_>>(), removed[3..]);
}

#[test]
fn unequal_parts_get_new_sizes_from_an_input_an_attribute_or_none() {
    for opset in [11, 13, 18] {
        for (sizes, given) in [([8, 4], true), ([6, 6], false)] {
            let mut net = Net::new();
            let x = net.input(&[3, 5, 5]);
            let y = net.conv("a", &x, 3, 12);
            let mut attributes = vec![("axis", Attribute::Int(1))];
            let mut inputs = vec![y];
            match (opset, given) {
                (11, true) => attributes.push(("split", ints(&sizes))),
                (_, true) => inputs.push(net.numbers(&sizes)),
                (18, false) => attributes.push(("num_outputs", Attribute::Int(2))),
                _ => {}
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let parts = net.b.nodes("Split", &inputs, &attributes, 2);
            let p = net.conv("p", &parts[0], sizes[0] as usize, 2);
            let q = net.conv("q", &parts[1], sizes[1] as usize, 2);
            let y = net.node("Add", &[&p, &q], &[]);
            let pruned = certified(&net.finish_in(&y, &[2, 5, 5], opset));
            assert_eq!(shape(&pruned, "a")[0], shape(&pruned, "p")[1] + shape(&pruned, "q")[1]);
            assert!(shape(&pruned, "a")[0] <= 6);
        }
    }
}

#[test]
fn ranges_of_channels_forwards_and_backwards() {
    for opset in [9, 17] {
        let mut net = Net::new();
        let x = net.input(&[3, 5, 5]);
        let y = net.conv("a", &x, 3, 12);
        let range = |net: &mut Net, start: i64, end: i64, step: i64| {
            if opset < 10 {
                return net.node(
                    "Slice",
                    &[&y],
                    &[("axes", ints(&[1])), ("starts", ints(&[start])), ("ends", ints(&[end]))],
                );
            }
            let inputs = [[start], [end], [1], [step]].map(|values| net.numbers(&values));
            net.node("Slice", &[&y, &inputs[0], &inputs[1], &inputs[2], &inputs[3]], &[])
        };
        let head = range(&mut net, 0, 5, 1);
        let tail = range(&mut net, -7, i64::MAX, 1);
        let p = net.conv("p", &head, 5, 2);
        let q = net.conv("q", &tail, 7, 2);
        let mut y2 = net.node("Add", &[&p, &q], &[]);
        if opset >= 10 {
            let back = range(&mut net, -1, i64::MIN + 1, -1);
            let r = net.conv("r", &back, 12, 2);
            y2 = net.node("Add", &[&y2, &r], &[]);
        }
        let pruned = certified(&net.finish_in(&y2, &[2, 5, 5], opset));
        assert_eq!(shape(&pruned, "a")[0], 6);
        assert_eq!(shape(&pruned, "p")[1] + shape(&pruned, "q")[1], 6);
    }
}

#[test]
fn padded_channels_are_free_and_the_pads_follow() {
    for opset in [10, 17] {
        let mut net = Net::new();
        let x = net.input(&[3, 5, 5]);
        let narrow = net.conv("narrow", &x, 3, 6);
        let wide = net.conv("wide", &narrow, 6, 12);
        let pads = [0, 2, 0, 0, 0, 4, 0, 0];
        let padded = if opset < 11 {
            net.node("Pad", &[&narrow], &[("pads", ints(&pads)), ("value", Attribute::Float(0.5))])
        } else {
            let pads = net.numbers(&pads);
            let value = net.b.constant(&Tensor::from_f32(&[], &[0.5]));
            net.node("Pad", &[&narrow, &pads, &value], &[])
        };
        let y = net.node("Add", &[&wide, &padded], &[]);
        let y = net.conv("head", &y, 12, 2);
        let pruned = certified(&net.finish_in(&y, &[2, 5, 5], opset));
        assert!(shape(&pruned, "narrow")[0] < 6 && shape(&pruned, "wide")[0] < 12);
        assert!(shape(&pruned, "wide")[0] >= shape(&pruned, "narrow")[0]);
    }
}

#[test]
fn a_constant_that_two_layers_share_is_copied_where_their_cuts_differ() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let (w, bias) = (net.weight("w", &[4, 4]), net.weight("bias", &[4]));
    let mut y = x;
    let mut wide = Vec::new();
    for name in ["up", "wider"] {
        y = net.node("Gemm", &[&y, &w, &bias], &[]);
        y = net.node("Tanh", &[&y], &[]);
        wide.push(net.dense(name, &y, 4, 4));
    }
    let y = net.node("Sub", &[&wide[0], &wide[1]], &[]);
    let pruned = certified(&net.finish(&y, &[4]));
    let plan = pruned.plan.as_ref().unwrap();
    let names: Vec<&str> =
        plan.tensors.iter().filter(|cut| cut.tensor == "w").map(|cut| cut.becomes.as_str()).collect();
    assert_eq!(names, ["w", "w_cut1"]);
    assert_eq!(plan.tensors.iter().find(|cut| cut.becomes == "w_cut1").unwrap().uses.len(), 1);
    assert_eq!((shape(&pruned, "w")[0], shape(&pruned, "w_cut1")[0]), (4, shape(&pruned, "w")[1]));
}

#[test]
fn a_weight_that_a_constant_node_holds_is_cut_in_its_place() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let w = net.random(&[4, 8]);
    let w = net.node("Constant", &[], &[("value", Attribute::Tensor(w.to_proto("")))]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let w = net.weight("b", &[8, 2]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let pruned = certified(&net.finish(&y, &[2]));
    let graph = pruned.model.graph();
    assert_eq!(graph.constant(&graph.node(0).output[0]).unwrap().unwrap().shape, [4, 4]);
}

#[test]
fn initializers_listed_among_the_inputs_keep_their_declaration_true() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let y = net.dense("b", &y, 8, 2);
    net.b.input("a", DataType::Float, &[8.into(), 4.into()]);
    let mut model = net.finish(&y, &[2]);
    let names = ["a.bias", "b", "b.bias"];
    for (name, sizes) in names.iter().zip([vec![8], vec![2, 8], vec![2]]) {
        let sizes: Vec<Size> = sizes.into_iter().map(Size::from).collect();
        let info = crate::onnx::builder::value_info(name, DataType::Float, &sizes);
        model.graph_proto_mut().input.push(info);
    }
    model.proto.ir_version = Some(3);
    let pruned = certified(&model);
    assert_eq!(pruned.model.proto.ir_version, Some(3));
    let declared = crate::onnx::shape::infer(&pruned.model);
    assert_eq!(declared.fixed_shape("a"), Some(vec![4, 4]));
}

#[test]
fn a_shared_constant_whose_uses_lose_other_channels_counts_once_for_each() {
    let mut net = Net::new();
    let x = net.input(&[64]);
    let w = net.weight("w", &[64, 64]);
    let a = net.node("Gemm", &[&x, &w], &[]);
    let b = net.node("Gemm", &[&x, &w], &[]);
    let (a, b) = (net.node("Relu", &[&a], &[]), net.node("Tanh", &[&b], &[]));
    let (a, b) = (net.dense("p", &a, 64, 2), net.dense("q", &b, 64, 2));
    let y = net.node("Add", &[&a, &b], &[]);
    let model = net.finish(&y, &[2]);
    for share in [0.5, 0.75] {
        let spec = PruneSpec { target: Target::ParamsKept(share), scope: crate::spec::prune::Scope::Local, ..half() };
        let pruned = prune(&model, &spec, None, 1, &|_| {}).unwrap();
        let kept = pruned.report.size_after.parameters as f64 / pruned.report.size_before.parameters as f64;
        assert!(kept <= share, "{kept} of the parameters are left where {share} was asked for");
    }
}

#[test]
fn what_the_functions_of_a_model_are_made_of_is_cut() {
    use crate::onnx::proto::{FunctionProto, NodeProto, OperatorSetIdProto};
    let mut net = Net::new();
    let x = net.input(&[4]);
    let (w, b) = (net.weight("a", &[8, 4]), net.weight("a.bias", &[8]));
    net.b.import("own", 1);
    net.b.raw_node("own", "Dense", &[&x, &w, &b], &[], &["h".to_owned()]);
    let y = net.dense("b", "h", 8, 2);
    let mut model = net.finish(&y, &[2]);
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let node = |op_type: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: Some(op_type.to_owned()),
        input: strings(inputs),
        output: strings(&[output]),
        ..NodeProto::default()
    };
    let mut gemm = node("Gemm", &["x", "w", "b"], "t");
    gemm.set_attribute("transB", Attribute::Int(1));
    model.proto.functions.push(FunctionProto {
        name: Some("Dense".to_owned()),
        domain: Some("own".to_owned()),
        input: strings(&["x", "w", "b"]),
        output: strings(&["y"]),
        node: vec![gemm, node("Relu", &["t"], "y")],
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        ..FunctionProto::default()
    });
    let pruned = certified(&model);
    assert_eq!((shape(&pruned, "a"), shape(&pruned, "b")), (vec![4, 4], vec![2, 4]));
    assert!(pruned.findings.iter().any(|finding| finding.contains("written out")), "{:?}", pruned.findings);
    let difference = verify(&model, &pruned.model, &[], 1, 1).unwrap();
    assert!(difference.passed);
}

#[test]
fn copies_of_a_weight_that_is_read_in_several_ways_are_told_where_they_make_a_model_larger() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let weight = net.weight("shared", &[4, 24]);
    let mut sums = Vec::new();
    for at in 0..4 {
        let (start, end, axis) = (net.numbers(&[at * 4]), net.numbers(&[at * 4 + 12]), net.numbers(&[1]));
        let window = net.node("Slice", &[&weight, &start, &end, &axis], &[]);
        let y = net.node("MatMul", &[&x, &window], &[]);
        let y = net.node("Tanh", &[&y], &[]);
        sums.push(net.dense(&format!("read{at}"), &y, 12, 3));
    }
    let y = net.node("Concat", &sums.iter().map(String::as_str).collect::<Vec<_>>(), &[("axis", Attribute::Int(1))]);
    let model = net.finish(&y, &[12]);
    for (target, larger) in [(Target::ChannelsRemoved(0.5), true), (Target::ChannelsRemoved(0.9), false)] {
        let spec = PruneRequest { target: Some(target), round_to: Some(1.into()), ..PruneRequest::default() };
        let pruned = prune(&model, &spec.parse().unwrap(), None, 1, &|_| {}).unwrap();
        let report = &pruned.report;
        assert_eq!(report.size_after.parameters > report.size_before.parameters, larger);
        assert_eq!(report.notes.iter().any(|note| note.contains("got a copy each")), larger, "{:?}", report.notes);
    }
    let spec =
        PruneRequest { target: Some(Target::ParamsKept(0.9)), round_to: Some(1.into()), ..PruneRequest::default() };
    if let Ok(pruned) = prune(&model, &spec.parse().unwrap(), None, 1, &|_| {}) {
        assert!(10 * pruned.report.size_after.parameters <= 9 * pruned.report.size_before.parameters);
    }
}
