//! Quantized weights and activations.

use super::*;

fn bytes(dtype: DataType, shape: &[usize], values: &[u8]) -> Tensor {
    Tensor::from_bytes(dtype, shape, values.to_vec().into()).unwrap()
}

impl Net {
    fn small_integers(&mut self, name: &str, shape: &[usize]) -> String {
        let values: Vec<u8> = (0..shape.iter().product()).map(|_| self.rng.random()).collect();
        self.b.initializer(name, &bytes(DataType::Int8, shape, &values))
    }
}

#[test]
fn scales_and_zero_points_of_channels_are_cut_with_them() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let w = net.small_integers("a", &[8, 3, 3, 3]);
    let values: Vec<f32> = (0..8).map(|_| net.rng.random_range(0.001..0.01)).collect();
    let scale = net.b.initializer("a.scale", &Tensor::from_f32(&[8], &values));
    let zero = net.b.initializer("a.zero", &bytes(DataType::Int8, &[8], &[0; 8]));
    let w = net.node("DequantizeLinear", &[&w, &scale, &zero], &[("axis", Attribute::Int(0))]);
    let thirty_two =
        bytes(DataType::Int32, &[8], &(0..8_i32).flat_map(|i| (100 * i).to_le_bytes()).collect::<Vec<u8>>());
    let b = net.b.initializer("a.bias", &thirty_two);
    let b = net.node("DequantizeLinear", &[&b, &scale], &[("axis", Attribute::Int(0))]);
    let y = net.node("Conv", &[&x, &w, &b], &[("pads", ints(&[1, 1, 1, 1]))]);
    let y = net.node("Relu", &[&y], &[]);
    let y = net.conv("b", &y, 8, 2);
    let pruned = certified_on_one(&net.finish(&y, &[2, 5, 5]));
    assert_eq!(shape(&pruned, "a"), [4, 3, 3, 3]);
    // Biases of 32-bit integers are no parameters, neither among those that can be cut nor among all.
    assert!(pruned.report.coverage_parameters <= 1.0, "{}", pruned.report.coverage_parameters);
    for name in ["a.scale", "a.zero", "a.bias"] {
        assert_eq!(shape(&pruned, name), [4], "{name}");
    }
}

#[test]
fn products_of_dynamically_quantized_rows_are_cut() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let y = net.node("Relu", &[&y], &[]);
    let quantized = net.b.nodes("DynamicQuantizeLinear", &[&y], &[], 3);
    let w = net.small_integers("b", &[8, 6]);
    let zero = net.b.initializer("b.zero", &bytes(DataType::Int8, &[], &[3]));
    let y = net.node("MatMulInteger", &[&quantized[0], &w, &quantized[2], &zero], &[]);
    let y = net.node("Cast", &[&y], &[("to", Attribute::Int(1))]);
    let scale = net.b.constant(&Tensor::from_f32(&[], &[0.01]));
    let scale = net.node("Mul", &[&quantized[1], &scale], &[]);
    let y = net.node("Mul", &[&y, &scale], &[]);
    let y = net.dense("c", &y, 6, 2);
    let pruned = certified_on_one(&net.finish(&y, &[2]));
    let (rows, columns) = (shape(&pruned, "a")[0], shape(&pruned, "c")[1]);
    assert!(rows < 8 && columns < 6);
    assert_eq!(shape(&pruned, "b"), [rows, columns]);
}
