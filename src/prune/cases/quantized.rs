//! Quantized weights and activations.

use super::*;
use crate::spec::report::CertificateCheck;

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

/// Eight convolution channels of the same bytes, whose scales tell them apart; a second layer that reads them.
fn same_bytes(as_operator: bool) -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let filter: Vec<u8> = (0..27).map(|i| (i * 7 % 120) as u8).collect();
    let w = net.b.initializer("a", &bytes(DataType::Int8, &[8, 3, 3, 3], &filter.repeat(8)));
    let values: Vec<f32> = (0..8).map(|i| if i % 2 == 0 { 0.02 } else { 0.001 }).collect();
    let scale = net.b.initializer("a.scale", &Tensor::from_f32(&[8], &values));
    let zero = net.b.initializer("a.zero", &bytes(DataType::Int8, &[8], &[0; 8]));
    let pads = ("pads", ints(&[1, 1, 1, 1]));
    let (one, middle) = (
        net.b.constant(&Tensor::from_f32(&[], &[0.02])),
        net.b.initializer("middle", &bytes(DataType::Uint8, &[], &[128])),
    );
    let y = if as_operator {
        let x = net.node("QuantizeLinear", &[&x, &one, &middle], &[]);
        let bias = (0..8_i32).flat_map(|i| (40 * i).to_le_bytes()).collect::<Vec<u8>>();
        let bias = net.b.initializer("a.bias", &bytes(DataType::Int32, &[8], &bias));
        let y = net.node("QLinearConv", &[&x, &one, &middle, &w, &scale, &zero, &one, &middle, &bias], &[pads]);
        let z = net.fused("QLinearLeakyRelu", &[&y, &one, &middle, &one, &middle], &[("alpha", Attribute::Float(0.1))]);
        let y = net.fused("QLinearAdd", &[&y, &one, &middle, &z, &one, &middle, &one, &middle], &[]);
        net.node("DequantizeLinear", &[&y, &one, &middle], &[])
    } else {
        let w = net.node("DequantizeLinear", &[&w, &scale, &zero], &[("axis", Attribute::Int(0))]);
        net.node("Conv", &[&x, &w], &[pads])
    };
    let y = net.conv("b", &y, 8, 2);
    net.b.import("com.microsoft", 1);
    net.finish(&y, &[2, 5, 5])
}

#[test]
fn quantized_weights_are_scored_by_the_numbers_that_they_stand_for() {
    for as_operator in [false, true] {
        let spec = PruneRequest {
            target: Some(Target::ChannelsRemoved(0.5)),
            criterion: Some(crate::spec::prune::Criterion::L2),
            round_to: Some(1.into()),
            ..PruneRequest::default()
        };
        let pruned = prune(&same_bytes(as_operator), &spec.parse().unwrap(), None, 1, &|_| {}).unwrap();
        assert!(proof(&pruned).passed);
        assert_eq!(shape(&pruned, "a"), [4, 3, 3, 3]);
        let scale = pruned.model.graph().constant("a.scale").unwrap().unwrap().to_f32().unwrap().into_owned();
        let large = scale.iter().filter(|scale| **scale > 0.01).count();
        assert!(large >= 3, "as operator {as_operator}: {scale:?}");
    }
}

#[test]
fn layers_of_quantized_operators_are_cut_with_their_parameters() {
    let pruned = certified_on_one(&same_bytes(true));
    for name in ["a.scale", "a.zero", "a.bias"] {
        assert_eq!(shape(&pruned, name), [4], "{name}");
    }
}

#[test]
fn quantized_products_are_cut_on_both_sides() {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let y = net.dense("a", &x, 4, 8);
    let one = net.b.constant(&Tensor::from_f32(&[], &[0.05]));
    let middle = net.b.initializer("middle", &bytes(DataType::Uint8, &[], &[120]));
    let y = net.node("QuantizeLinear", &[&y, &one, &middle], &[]);
    let w = net.small_integers("w", &[8, 6]);
    let values: Vec<f32> = (0..6).map(|_| net.rng.random_range(0.005..0.01)).collect();
    let scales = net.b.initializer("w.scale", &Tensor::from_f32(&[6], &values));
    let zeros = net.b.initializer("w.zero", &bytes(DataType::Int8, &[6], &[0; 6]));
    let y = net.node("QLinearMatMul", &[&y, &one, &middle, &w, &scales, &zeros, &one, &middle], &[]);
    let z = net.node("DequantizeLinear", &[&y, &one, &middle], &[]);
    let y = net.fused("QLinearSigmoid", &[&y, &one, &middle, &one, &middle], &[]);
    let joined = net.b.fresh("joined");
    let axis = [("axis", Attribute::Int(1))];
    let inputs = [&one, &middle, &y, &one, &middle, &y, &one, &middle].map(String::as_str);
    net.b.raw_node("com.microsoft", "QLinearConcat", &inputs, &axis, std::slice::from_ref(&joined));
    let y = net.node("DequantizeLinear", &[&joined, &one, &middle], &[]);
    let y = net.dense("b", &y, 12, 2);
    let z = net.dense("c", &z, 6, 2);
    let y = net.node("Add", &[&y, &z], &[]);
    net.b.import("com.microsoft", 1);
    let pruned = certified_on_one(&net.finish(&y, &[2]));
    let (rows, columns) = (shape(&pruned, "a")[0], shape(&pruned, "c")[1]);
    assert!(rows < 8 && columns < 6);
    assert_eq!(shape(&pruned, "w"), [rows, columns]);
    assert_eq!(shape(&pruned, "w.scale"), [columns]);
    assert_eq!(shape(&pruned, "b")[1], 2 * columns);
}

/// ONNX Runtime's optimizer takes the `Clip` into the quantization behind it, where no mask stands between them.
#[test]
fn quantized_models_are_compared_without_the_fusions_of_the_runtime() {
    let mut net = Net::new();
    let x = net.input(&[40]);
    let scale = net.b.constant(&Tensor::from_f32(&[], &[0.05]));
    let zero = net.b.constant(&bytes(DataType::Uint8, &[], &[120]));
    let quantized = |net: &mut Net, y: &str| net.node("QuantizeLinear", &[y, &scale, &zero], &[]);
    let y = quantized(&mut net, &x);
    let y = net.node("DequantizeLinear", &[&y, &scale, &zero], &[]);
    let y = net.dense("a", &y, 40, 64);
    let (low, high) = (Tensor::from_f32(&[], &[0.0]), Tensor::from_f32(&[], &[6.0]));
    let (low, high) = (net.b.constant(&low), net.b.constant(&high));
    let y = net.node("Clip", &[&y, &low, &high], &[]);
    let y = quantized(&mut net, &y);
    let y = net.node("DequantizeLinear", &[&y, &scale, &zero], &[]);
    let y = net.dense("b", &y, 64, 2);
    let pruned = certified_on_one(&net.finish(&y, &[2]));
    assert_eq!((shape(&pruned, "a")[0], shape(&pruned, "b")[1]), (32, 32));
}

/// What a quantizer writes: numbers of 8 bits from end to end.
pub(super) fn all_quantized() -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let one = net.b.constant(&Tensor::from_f32(&[], &[0.02]));
    let middle = net.b.initializer("middle", &bytes(DataType::Uint8, &[], &[128]));
    let mut y = net.node("QuantizeLinear", &[&x, &one, &middle], &[]);
    for (name, c_in, c_out) in [("a", 3, 8), ("b", 8, 8)] {
        let w = net.small_integers(name, &[c_out, c_in, 3, 3]);
        let values: Vec<f32> = (0..c_out).map(|_| net.rng.random_range(0.001..0.003)).collect();
        let scales = net.b.initializer(&format!("{name}.scale"), &Tensor::from_f32(&[c_out], &values));
        let zeros = net.b.initializer(&format!("{name}.zero"), &bytes(DataType::Int8, &[c_out], &vec![0; c_out]));
        let pads = [("pads", ints(&[1, 1, 1, 1]))];
        y = net.node("QLinearConv", &[&y, &one, &middle, &w, &scales, &zeros, &one, &middle], &pads);
    }
    net.b.import("com.microsoft", 1);
    let attributes = [("channels_last", Attribute::Int(0))];
    let y = net.fused("QLinearGlobalAveragePool", &[&y, &one, &middle, &one, &middle], &attributes);
    let flat = net.numbers(&[0, 8]);
    let y = net.node("Reshape", &[&y, &flat], &[]);
    let w = net.small_integers("c", &[8, 2]);
    let scale = net.b.constant(&Tensor::from_f32(&[], &[0.002]));
    let zero = net.b.constant(&bytes(DataType::Int8, &[], &[0]));
    let y = net.node("QLinearMatMul", &[&y, &one, &middle, &w, &scale, &zero, &one, &middle], &[]);
    let y = net.node("DequantizeLinear", &[&y, &one, &middle], &[]);
    net.finish(&y, &[2])
}

#[test]
fn a_model_of_quantized_numbers_from_end_to_end_is_cut_with_a_certificate() {
    let pruned = certified_on_one(&all_quantized());
    let (a, b) = (shape(&pruned, "a")[0], shape(&pruned, "b"));
    assert!(a < 8 && b[0] < 8);
    assert_eq!((b[1], shape(&pruned, "b.scale"), shape(&pruned, "c")[0]), (a, vec![b[0]], b[0]));
    // Integers are summed exactly.
    assert!(proof(&pruned).checks.iter().filter_map(|check| check.error).all(|error| error == 0.0));
}

/// Removed channels whose weights are nothing show nothing about the cut, but dealt out anew they do.
#[test]
fn quantized_weights_of_nothing_are_dealt_out_for_the_proof() {
    let mut net = Net::new();
    let x = net.input(&[3, 5, 5]);
    let mut values = vec![0_u8; 4 * 27];
    values.extend((0..4 * 27).map(|i| (i * 7 % 120) as u8));
    let w = net.b.initializer("a", &bytes(DataType::Int8, &[8, 3, 3, 3], &values));
    let scale = net.b.constant(&Tensor::from_f32(&[], &[0.01]));
    let w = net.node("DequantizeLinear", &[&w, &scale], &[]);
    let y = net.node("Conv", &[&x, &w], &[("pads", ints(&[1, 1, 1, 1]))]);
    let y = net.conv("b", &y, 8, 2);
    let spec = PruneSpec { criterion: crate::spec::prune::Criterion::L2, ..half() };
    let pruned = prune(&net.finish(&y, &[2, 5, 5]), &spec, None, 1, &|_| {}).unwrap();
    let certificate = proof(&pruned);
    assert!(certificate.passed && certificate.vacuous_on_own_weights);
    assert_eq!(shape(&pruned, "a"), [4, 3, 3, 3]);
}

/// Float layers with their activations quantized and dequantized between them, on planes of so many pixels a side.
fn quantized_between(layers: usize, side: usize, width: usize) -> Model {
    let mut net = Net::new();
    let x = net.input(&[3, side, side]);
    let middle = net.b.initializer("middle", &bytes(DataType::Uint8, &[], &[128]));
    let mut y = x;
    for layer in 0..layers {
        let c_in = if layer == 0 { 3 } else { width };
        let step = net.b.constant(&Tensor::from_f32(&[], &[[0.03, 0.04, 0.1, 0.25, 0.6, 1.5][layer.min(5)]]));
        let q = net.node("QuantizeLinear", &[&y, &step, &middle], &[]);
        let x = net.node("DequantizeLinear", &[&q, &step, &middle], &[]);
        y = net.conv(&format!("c{layer}"), &x, c_in, width);
        y = net.node("Relu", &[&y], &[]);
    }
    let step = net.b.constant(&Tensor::from_f32(&[], &[0.5]));
    let q = net.node("QuantizeLinear", &[&y, &step, &middle], &[]);
    let y = net.node("DequantizeLinear", &[&q, &step, &middle], &[]);
    net.finish(&y, &[width, side, side])
}

#[test]
fn sums_that_are_rounded_to_another_step_do_not_stand_in_the_way_of_a_certificate() {
    let model = quantized_between(5, 48, 32);
    let pruned = certified_on_one(&model);
    let numbers = |check: &CertificateCheck| check.error.is_some() && check.weights == "random";
    assert!(proof(&pruned).checks.iter().any(numbers), "what was given to the candidate proves the layers behind it");
}

#[test]
fn a_wrong_cut_between_quantizers_is_seen() {
    let model = quantized_between(4, 12, 8);
    assert!(mutations::verdict_on(&model, |_| {}).unwrap().passed);
    for tensor in ["c1", "c2", "c2.bias"] {
        let error = mutations::verdict_on(&model, |plan| {
            let cut = plan.tensors.iter_mut().find(|cut| cut.tensor == tensor).unwrap();
            mutations::shift(cut.axes.last_mut().unwrap());
        });
        assert!(error.unwrap_err().contains("differs from the masked original"), "{tensor}");
    }
}
