//! Graphs as TensorFlow and Keras export them: values have their channels last, convolutions stand between Transposes, a
//! bias is an Add, normalisation is a Mul and an Add.

use super::*;

const TO_FIRST: [i64; 4] = [0, 3, 1, 2];
const TO_LAST: [i64; 4] = [0, 2, 3, 1];

impl Net {
    /// A 3 × 3 convolution of a value with channels last; `group` is 1, or the width of a depthwise one.
    fn conv_last(&mut self, name: &str, x: &str, c_in: usize, c_out: usize, group: usize) -> String {
        let first = self.node("Transpose", &[x], &[("perm", ints(&TO_FIRST))]);
        let w = self.weight(name, &[c_out, c_in / group, 3, 3]);
        let attributes =
            [("auto_pad", Attribute::String("SAME_UPPER".into())), ("group", Attribute::Int(group as i64))];
        let y = self.node("Conv", &[&first, &w], &attributes);
        self.node("Transpose", &[&y], &[("perm", ints(&TO_LAST))])
    }

    /// BiasAdd, decomposed normalisation and activation.
    fn norm_last(&mut self, name: &str, x: &str, width: usize) -> String {
        let bias = self.weight(&format!("{name}.bias"), &[width]);
        let scale = self.positive(&format!("{name}.scale"), &[width]);
        let shift = self.weight(&format!("{name}.shift"), &[1, 1, 1, width]);
        let y = self.node("Add", &[x, &bias], &[]);
        let y = self.node("Mul", &[&y, &scale], &[]);
        let y = self.node("Add", &[&y, &shift], &[]);
        self.node("Relu", &[&y], &[])
    }
}

#[test]
fn a_residual_block_between_transposes_is_cut_with_its_biases_and_norms() {
    let mut net = Net::new();
    let x = net.input(&[6, 6, 3]);
    let stem = net.conv_last("stem", &x, 3, 8, 1);
    let stem = net.norm_last("stem", &stem, 8);
    let y = net.conv_last("inner", &stem, 8, 6, 1);
    let y = net.norm_last("inner", &y, 6);
    let y = net.conv_last("outer", &y, 6, 8, 1);
    let y = net.norm_last("outer", &y, 8);
    let sum = net.node("Add", &[&y, &stem], &[]);
    let y = net.conv_last("head", &sum, 8, 2, 1);
    let pruned = certified(&net.finish(&y, &[6, 6, 2]));
    assert_eq!(shape(&pruned, "stem"), [4, 3, 3, 3]);
    assert_eq!(shape(&pruned, "inner"), [3, 4, 3, 3]);
    assert_eq!(shape(&pruned, "outer"), [4, 3, 3, 3]);
    assert_eq!(shape(&pruned, "head"), [2, 4, 3, 3]);
    assert_eq!((shape(&pruned, "outer.bias"), shape(&pruned, "outer.scale")), (vec![4], vec![4]));
    assert_eq!(shape(&pruned, "outer.shift"), [1, 1, 1, 4]);
}

#[test]
fn a_depthwise_convolution_and_a_gate_of_channels_last_follow_their_producer() {
    let mut net = Net::new();
    let x = net.input(&[6, 6, 3]);
    let y = net.conv_last("a", &x, 3, 8, 1);
    let y = net.norm_last("a", &y, 8);
    let y = net.conv_last("depthwise", &y, 8, 8, 8);
    let y = net.norm_last("depthwise", &y, 8);
    // Squeeze and excitation on [n, 1, 1, 8].
    let pooled = net.node("ReduceMean", &[&y], &[("axes", ints(&[1, 2]))]);
    let down = net.weight("down", &[8, 4]);
    let gate = net.node("MatMul", &[&pooled, &down], &[]);
    let gate = net.node("Relu", &[&gate], &[]);
    let up = net.weight("up", &[4, 8]);
    let gate = net.node("MatMul", &[&gate, &up], &[]);
    let gate = net.node("Sigmoid", &[&gate], &[]);
    let y = net.node("Mul", &[&y, &gate], &[]);
    let y = net.conv_last("b", &y, 8, 2, 1);
    let pruned = certified(&net.finish(&y, &[6, 6, 2]));
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "depthwise")), (4, vec![4, 1, 3, 3]));
    assert_eq!((shape(&pruned, "down"), shape(&pruned, "up")), (vec![4, 2], vec![2, 4]));
    assert_eq!(shape(&pruned, "b"), [2, 4, 3, 3]);
    let depthwise = pruned.model.graph_proto().node.iter().find(|node| node.input.iter().any(|i| i == "depthwise"));
    assert_eq!(depthwise.unwrap().int("group"), Some(4));
}

#[test]
fn branches_join_on_the_last_axis_and_positions_flatten_into_a_matrix_product() {
    let mut net = Net::new();
    let x = net.input(&[4, 4, 3]);
    let a = net.conv_last("a", &x, 3, 8, 1);
    let a = net.norm_last("a", &a, 8);
    let b = net.conv_last("b", &x, 3, 4, 1);
    let y = net.node("Concat", &[&a, &b], &[("axis", Attribute::Int(3))]);
    let target = net.numbers(&[-1, 4 * 4 * 12]);
    let flat = net.node("Reshape", &[&y, &target], &[]);
    let w = net.weight("dense", &[4 * 4 * 12, 10]);
    let y = net.node("MatMul", &[&flat, &w], &[]);
    let bias = net.weight("dense.bias", &[10]);
    let y = net.node("Add", &[&y, &bias], &[]);
    let pruned = certified(&net.finish(&y, &[10]));
    let (a, b) = (shape(&pruned, "a")[0], shape(&pruned, "b")[0]);
    assert_eq!((a, b), (4, 2));
    assert_eq!(shape(&pruned, "dense"), [4 * 4 * (a + b), 10]);
}
