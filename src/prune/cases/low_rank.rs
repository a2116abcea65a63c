//! Layers replaced by factors.

use super::*;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::Method;

impl Net {
    /// A weight `[outputs, inputs, kernel …]` with so many directions of its outputs and inputs, and a little noise.
    fn poor(&mut self, name: &str, shape: &[usize], rank: usize) -> String {
        let kernel: usize = shape[2..].iter().product();
        let (u, v) = (self.random(&[shape[0], rank]), self.random(&[rank, shape[1]]));
        let core = self.random(&[rank, rank, kernel]);
        let (u, v, core) = (u.to_f32().unwrap(), v.to_f32().unwrap(), core.to_f32().unwrap());
        let mut values = Vec::new();
        for o in 0..shape[0] {
            for i in 0..shape[1] {
                for k in 0..kernel {
                    let pairs = (0..rank).flat_map(|p| (0..rank).map(move |q| (p, q)));
                    values.push(
                        pairs
                            .map(|(p, q)| u[o * rank + p] * core[(p * rank + q) * kernel + k] * v[q * shape[1] + i])
                            .sum(),
                    );
                }
            }
        }
        self.b.initializer(name, &Tensor::from_f32(shape, &values))
    }
}

/// One layer of each kind, all of rank 3; strides, pads, dilations, biases and scales are not the defaults.
fn every_kind() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4, 13, 13]);
    let bias = net.weight("bias", &[16]);
    let w = net.poor("kernel", &[16, 4, 3, 3], 3);
    let attributes = [("pads", ints(&[2, 1, 2, 1])), ("dilations", ints(&[2, 1])), ("strides", ints(&[2, 1]))];
    let y = net.node("Conv", &[&x, &w, &bias], &attributes);
    let y = net.node("Relu", &[&y], &[]);
    let w = net.poor("both", &[16, 16, 3, 3], 3);
    let y = net.node("Conv", &[&y, &w], &[("auto_pad", Attribute::String("SAME_UPPER".into()))]);
    let w = net.poor("point", &[12, 16, 1, 1], 3);
    let bias = net.weight("point.bias", &[12]);
    let attributes = [("kernel_shape", ints(&[1, 1])), ("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))];
    let y = net.node("Conv", &[&y, &w, &bias], &attributes);
    let y = net.node("GlobalAveragePool", &[&y], &[]);
    let y = net.node("Flatten", &[&y], &[]);
    let bias = net.weight("gemm.bias", &[20]);
    let w = net.poor("gemm", &[20, 12], 3);
    let attributes = [("transB", Attribute::Int(1)), ("alpha", Attribute::Float(0.5)), ("beta", Attribute::Float(2.0))];
    let y = net.node("Gemm", &[&y, &w, &bias], &attributes);
    let w = net.poor("plain", &[20, 10], 3);
    let y = net.node("Gemm", &[&y, &w], &[]);
    let w = net.poor("right", &[10, 18], 3);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let column = net.numbers(&[0, 18, 1]);
    let y = net.node("Reshape", &[&y, &column], &[]);
    let w = net.poor("left", &[14, 18], 3);
    let y = net.node("MatMul", &[&w, &y], &[]);
    net.finish(&y, &[14, 1])
}

fn factored(model: &Model, target: Target, exclude: &[&str]) -> Result<Pruned, PruneError> {
    let request = PruneRequest {
        method: Method::LowRank,
        target: Some(target),
        exclude: exclude.iter().map(|name| (*name).to_owned()).collect(),
        ..PruneRequest::default()
    };
    prune(model, &request.parse().unwrap(), None, 1, &|_| {})
}

#[test]
fn factors_that_keep_all_energy_compute_what_each_layer_computed() {
    let model = every_kind();
    let pruned = factored(&model, Target::Energy(1.0 - 1e-9), &[]).unwrap();
    assert!(apart(&model, &pruned.model, &[2, 4, 13, 13]) < 1e-4);
    let report = &pruned.report;
    let told: Vec<(&str, &str, &[u64])> =
        report.layers.iter().map(|layer| (layer.name.as_str(), layer.kind.as_str(), layer.ranks.as_slice())).collect();
    let expected: [(&str, &str, &[u64]); 7] = [
        ("kernel", "tucker2", &[3, 3]),
        ("both", "tucker2", &[3, 3]),
        ("point", "svd", &[3]),
        ("gemm", "svd", &[3]),
        ("plain", "svd", &[3]),
        ("right", "svd", &[3]),
        ("left", "svd", &[3]),
    ];
    assert_eq!(told, expected);
    assert!(report.layers.iter().all(|layer| (layer.energy_kept - 1.0).abs() < 1e-5), "{:?}", report.layers);
    let gone: u64 = report.layers.iter().map(|layer| layer.parameters_before - layer.parameters_after).sum();
    assert_eq!(report.size_before.parameters - report.size_after.parameters, gone);
    assert_eq!((proof(&pruned).kind.as_str(), proof(&pruned).passed), ("verified", true));
    assert!(report.output_error.is_some_and(|error| error < 1e-4), "{:?}", report.output_error);
    assert_eq!(pruned.model.opset(""), model.opset(""));
    // The bias stays with the last factor, under the layer's own name.
    let graph = pruned.model.graph();
    let [used] = graph.uses("bias") else { panic!("{:?}", graph.uses("bias")) };
    let original = model.graph();
    assert_eq!(graph.node(used.node).output, original.node(original.uses("bias")[0].node).output);
    assert!(graph.initializer("kernel").is_none() && graph.initializer("kernel_factor1").is_some());
}

#[test]
fn less_energy_is_nearer_to_nothing_and_the_error_is_that_of_the_weight() {
    let mut net = Net::new();
    let x = net.input(&[8]);
    // Singular values 8, 7, …, 1 on the diagonal: what is left out is known.
    let diagonal: Vec<f32> = (0..64).map(|at| if at % 9 == 0 { 8.0 - (at / 9) as f32 } else { 0.0 }).collect();
    let w = net.b.initializer("w", &Tensor::from_f32(&[8, 8], &diagonal));
    let y = net.node("MatMul", &[&x, &w], &[]);
    let model = net.finish(&y, &[8]);
    let pruned = factored(&model, Target::RankRatio(0.375), &[]).unwrap();
    let layer = &pruned.report.layers[0];
    assert_eq!((layer.ranks.as_slice(), layer.parameters_before, layer.parameters_after), (&[3][..], 64, 48));
    assert!((layer.energy_kept - (64.0 + 49.0 + 36.0) / 204.0).abs() < 1e-6);
    let x = Tensor::from_f32(&[1, 8], &[1.0; 8]);
    let found = outputs(crate::engine::onnx_runtime().unwrap(), &pruned.model, &x);
    for (at, found) in found[0].iter().enumerate() {
        let expected = if at < 3 { 8.0 - at as f32 } else { 0.0 };
        assert!((found - expected).abs() < 1e-5, "{at}: {found}");
    }
}

#[test]
fn a_layer_that_would_not_become_smaller_stays_with_the_reason() {
    let mut net = Net::new();
    let x = net.input(&[6, 8, 8]);
    let y = net.conv("rich", &x, 6, 6);
    let y = net.grouped_conv("grouped", &y, 6, 6, 3);
    let w = net.poor("poor", &[6, 6, 3, 3], 1);
    let y = net.node("Conv", &[&y, &w], &[]);
    let y = net.node("Conv", &[&y, &w], &[]);
    let w = net.poor("alone", &[6, 6, 3, 3], 1);
    let y = net.node("Conv", &[&y, &w], &[]);
    let model = net.finish(&y, &[6, 2, 2]);
    let pruned = factored(&model, Target::Energy(0.999), &[]).unwrap();
    assert_eq!(pruned.report.layers.len(), 1);
    let reason = |name: &str| {
        let found = pruned.report.frozen.iter().find(|frozen| frozen.what == name);
        found.map_or(String::new(), |frozen| frozen.reason.clone())
    };
    assert!(reason("rich").contains("in place of 324"), "{}", reason("rich"));
    assert_eq!(reason("grouped"), "its convolution has groups");
    assert!(reason("poor").contains("shared with Conv"), "{}", reason("poor"));
    let failure = Failure::from(factored(&model, Target::Energy(0.999), &["alone"]).unwrap_err());
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
    assert!(failure.to_string().contains("it is excluded"), "{failure}");
}

#[test]
fn a_share_of_parameters_or_of_multiply_accumulates_is_met_with_as_much_energy_as_fits() {
    let mut net = Net::new();
    let x = net.input(&[16, 8, 8]);
    let y = net.conv("a", &x, 16, 32);
    let y = net.conv("b", &y, 32, 16);
    let model = net.finish(&y, &[16, 8, 8]);
    let pruned = factored(&model, Target::ParamsKept(0.6), &[]).unwrap();
    let size = |pruned: &Pruned| (pruned.report.size_before.clone(), pruned.report.size_after.clone());
    let (before, after) = size(&pruned);
    let kept = after.parameters as f64 / before.parameters as f64;
    assert!(kept <= 0.6 && kept > 0.55, "{kept}");
    let pruned = factored(&model, Target::MacsKept(0.5), &[]).unwrap();
    let (before, after) = size(&pruned);
    let kept = after.macs.unwrap() as f64 / before.macs.unwrap() as f64;
    assert!(kept <= 0.5 && kept > 0.45, "{kept}");
    let failure = Failure::from(factored(&model, Target::ParamsKept(0.001), &[]).unwrap_err());
    assert_eq!(failure.code, FailureCode::TargetUnreachable);
}

/// Matrices as exports from TensorFlow and half precision leave them: behind a Transpose, a Cast or an Identity.
#[test]
fn a_matrix_behind_operators_that_hand_it_on_is_factored_in_their_place() {
    let mut net = Net::new();
    let x = net.input(&[16]);
    let w = net.poor("turned", &[24, 16], 3);
    let w = net.node("Transpose", &[&w], &[]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    // An outer product of small integers is exact in half precision.
    let values: Vec<f32> = (0..20 * 24).map(|at| ((at / 24 % 5) as f32 - 1.0) * ((at % 24 % 7) as f32 - 3.0)).collect();
    let half = Tensor { dtype: DataType::Float16, ..Tensor::from_f32(&[], &[0.0]) };
    let half = half.with_f32(&[20, 24], &values).unwrap();
    let w = net.b.initializer("half", &half);
    let w = net.node("Cast", &[&w], &[("to", Attribute::Int(1))]);
    let w = net.node("Identity", &[&w], &[]);
    let y = net.node("Gemm", &[&y, &w], &[("transB", Attribute::Int(1))]);
    let model = net.finish(&y, &[20]);
    let pruned = factored(&model, Target::Energy(1.0 - 1e-9), &[]).unwrap();
    assert!(apart(&model, &pruned.model, &[2, 16]) < 1e-3);
    let layers: Vec<(&str, &[u64])> =
        pruned.report.layers.iter().map(|layer| (layer.name.as_str(), layer.ranks.as_slice())).collect();
    assert_eq!(layers, [("turned", &[3][..]), ("half", &[1][..])]);
    let left = pruned.model.graph_proto();
    assert!(left.initializer.iter().all(|tensor| tensor.name().contains("_factor")), "the whole weights are gone");
    assert!(left.node.iter().all(|node| matches!(node.op_type(), "MatMul" | "Gemm")));
}

#[test]
fn weights_that_are_no_matrices_of_floats_are_named_with_the_operator() {
    let mut net = Net::new();
    let x = net.input(&[16]);
    let w = net.poor("flat", &[2, 8, 16], 2);
    let target = net.numbers(&[16, 16]);
    let w = net.node("Reshape", &[&w, &target], &[]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let bytes = Tensor::from_bytes(DataType::Int8, &[16, 16], vec![1; 256].into()).unwrap();
    let (w, scale) = (net.b.initializer("bytes", &bytes), net.b.constant(&Tensor::from_f32(&[], &[0.5])));
    let w = net.node("DequantizeLinear", &[&w, &scale], &[]);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let w = net.poor("poor", &[16, 16], 1);
    let y = net.node("MatMul", &[&y, &w], &[]);
    let pruned = factored(&net.finish(&y, &[16]), Target::Energy(0.999), &[]).unwrap();
    let told = |name: &str| {
        let found = pruned.report.frozen.iter().find(|frozen| frozen.what == name).expect(name);
        (found.operator.clone().unwrap_or_default(), found.reason.clone())
    };
    assert!(told("flat").1.contains("Reshape"), "{:?}", told("flat"));
    assert!(told("bytes").0.contains("DequantizeLinear") && told("bytes").1.contains("int8"), "{:?}", told("bytes"));
}
