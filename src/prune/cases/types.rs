//! Weights of 16 bits, and convolutions over volumes.

use super::*;

impl Net {
    /// A weight in another type of numbers.
    fn weight_of(&mut self, dtype: DataType, name: &str, shape: &[usize]) -> String {
        let numbers = self.random(shape);
        let like = Tensor { dtype, shape: Vec::new(), data: Vec::new().into() };
        let tensor = like.with_f32(shape, &numbers.to_f32().unwrap()).unwrap();
        self.b.initializer(name, &tensor)
    }

    fn cast(&mut self, x: &str, dtype: DataType) -> String {
        self.node("Cast", &[x], &[("to", Attribute::Int(i64::from(dtype.number())))])
    }
}

fn dtype(pruned: &Pruned, name: &str) -> DataType {
    pruned.model.graph().constant(name).unwrap().unwrap().dtype
}

#[test]
fn a_network_of_half_precision_is_cut_and_stays_so() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let x = net.cast(&x, DataType::Float16);
    let (w, b) =
        (net.weight_of(DataType::Float16, "a", &[8, 3, 3, 3]), net.weight_of(DataType::Float16, "a.bias", &[8]));
    let pads = [("pads", ints(&[1, 1, 1, 1]))];
    let y = net.node("Conv", &[&x, &w, &b], &pads);
    let y = net.node("Relu", &[&y], &[]);
    let w = net.weight_of(DataType::Float16, "b", &[2, 8, 3, 3]);
    let y = net.node("Conv", &[&y, &w], &pads);
    let y = net.cast(&y, DataType::Float);
    let pruned = certified_on_one(&net.finish(&y, &[2, 5, 5]));
    assert_eq!((shape(&pruned, "a"), shape(&pruned, "a.bias"), shape(&pruned, "b")[1]), (vec![4, 3, 3, 3], vec![4], 4));
    assert_eq!(["a", "a.bias", "b"].map(|name| dtype(&pruned, name)), [DataType::Float16; 3]);
    // Sums of eleven bits differ by more than those of 24.
    assert!(proof(&pruned).tolerance > 1e-3);
}

#[test]
fn weights_that_are_kept_in_sixteen_bits_and_cast_are_cut_where_they_are_kept() {
    for kept in [DataType::Bfloat16, DataType::Float16] {
        let mut net = Net::new();
        let x = net.input(&[4]);
        let mut layer = |name: &str, x: &str, shape: &[usize]| {
            let w = net.weight_of(kept, name, shape);
            let w = net.cast(&w, DataType::Float);
            net.node("MatMul", &[x, &w], &[])
        };
        let y = layer("a", &x, &[4, 8]);
        let y = layer("b", &y, &[8, 2]);
        let pruned = certified_on_one(&net.finish(&y, &[2]));
        assert_eq!((shape(&pruned, "a"), shape(&pruned, "b")), (vec![4, 4], vec![4, 2]));
        assert_eq!(["a", "b"].map(|name| dtype(&pruned, name)), [kept; 2]);
    }
}

#[test]
fn convolutions_over_volumes_are_cut() {
    let mut net = Net::new();
    let x = net.input(&[2, 4, 4, 4]);
    let (w, b) = (net.weight("a", &[8, 2, 3, 3, 3]), net.weight("a.bias", &[8]));
    let pads = || ("pads", ints(&[1; 6]));
    let y = net.node("Conv", &[&x, &w, &b], &[pads()]);
    let (scale, shift) = (net.positive("scale", &[8]), net.weight("shift", &[8]));
    let (mean, variance) = (net.weight("mean", &[8]), net.positive("variance", &[8]));
    let y = net.node("BatchNormalization", &[&y, &scale, &shift, &mean, &variance], &[]);
    let y = net.node("MaxPool", &[&y], &[("kernel_shape", ints(&[2; 3])), ("strides", ints(&[2; 3]))]);
    let w = net.weight("depthwise", &[8, 1, 3, 3, 3]);
    let y = net.node("Conv", &[&y, &w], &[pads(), ("group", Attribute::Int(8))]);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let y = net.dense("head", &y, 8, 2);
    let pruned = certified_on_one(&net.finish(&y, &[2]));
    assert_eq!((shape(&pruned, "a"), shape(&pruned, "depthwise")), (vec![4, 2, 3, 3, 3], vec![4, 1, 3, 3, 3]));
    assert_eq!((shape(&pruned, "variance"), shape(&pruned, "head")), (vec![4], vec![2, 4]));
}
