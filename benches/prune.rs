//! Pruning a model of ResNet-50's size, file to file: read, couple, score, plan, cut, write. The certificate is apart.

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;
use secateur::prune::cut_without_certificate;
use secateur::spec::attempt::ModelLimits;
use secateur::spec::prune::{PruneRequest, Target};

/// The layers of ResNet-50 with random weights: 25.6 million parameters, BatchNormalization kept.
struct ResNet50 {
    b: GraphBuilder,
    rng: ChaCha8Rng,
}

impl ResNet50 {
    fn build() -> Model {
        let mut net = Self { b: GraphBuilder::new("resnet50"), rng: ChaCha8Rng::seed_from_u64(1) };
        let x = net.b.input("x", DataType::Float, &["n".into(), 3.into(), 224.into(), 224.into()]);
        let x = net.conv(&x, 3, 64, 7, 2);
        let x = net.b.node("Relu", &[&x], &[]);
        let pool = [("kernel_shape", ints(&[3, 3])), ("strides", ints(&[2, 2])), ("pads", ints(&[1; 4]))];
        let mut x = net.b.node("MaxPool", &[&x], &pool);
        let mut c_in = 64;
        for (blocks, width, stride) in [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)] {
            for block in 0..blocks {
                x = net.bottleneck(&x, c_in, width, if block == 0 { stride } else { 1 });
                c_in = 4 * width;
            }
        }
        let x = net.b.node("GlobalAveragePool", &[&x], &[]);
        let x = net.b.node("Flatten", &[&x], &[]);
        let (w, b) = (net.weight(&[1000, 2048]), net.weight(&[1000]));
        let y = net.b.node("Gemm", &[&x, &w, &b], &[("transB", Attribute::Int(1))]);
        net.b.output(&y, DataType::Float, &["n".into(), 1000.into()]);
        net.b.build(17)
    }

    fn bottleneck(&mut self, x: &str, c_in: usize, width: usize, stride: usize) -> String {
        let y = self.conv(x, c_in, width, 1, 1);
        let y = self.b.node("Relu", &[&y], &[]);
        let y = self.conv(&y, width, width, 3, stride);
        let y = self.b.node("Relu", &[&y], &[]);
        let y = self.conv(&y, width, 4 * width, 1, 1);
        let shortcut = if c_in == 4 * width { x.to_owned() } else { self.conv(x, c_in, 4 * width, 1, stride) };
        let y = self.b.node("Add", &[&y, &shortcut], &[]);
        self.b.node("Relu", &[&y], &[])
    }

    fn conv(&mut self, x: &str, c_in: usize, c_out: usize, kernel: usize, stride: usize) -> String {
        let w = self.weight(&[c_out, c_in, kernel, kernel]);
        let pad = (kernel / 2) as i64;
        let attributes = [("pads", ints(&[pad; 4])), ("strides", ints(&[stride as i64; 2]))];
        let y = self.b.node("Conv", &[x, &w], &attributes);
        let parameters: Vec<String> = (0..4).map(|_| self.weight(&[c_out])).collect();
        let inputs: Vec<&str> = [&y].into_iter().chain(&parameters).map(String::as_str).collect();
        self.b.node("BatchNormalization", &inputs, &[])
    }

    fn weight(&mut self, shape: &[usize]) -> String {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.rng.random_range(0.01..1.0)).collect();
        self.b.constant(&Tensor::from_f32(shape, &values))
    }
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn file_to_file(input: &Path, output: &Path) {
    let request = PruneRequest { target: Some(Target::MacsKept(0.5)), ..PruneRequest::default() };
    let spec = request.parse().expect("the defaults are sound");
    let model = Model::load(input, &ModelLimits::default()).expect("the model was just written");
    let (cut, _) = cut_without_certificate(&model, &spec).expect("a ResNet can be cut");
    std::fs::write(output, cut.to_bytes()).expect("the folder is there");
}

fn prune(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let (input, output) = (folder.path().join("resnet50.onnx"), folder.path().join("cut.onnx"));
    std::fs::write(&input, ResNet50::build().to_bytes()).expect("there is room for a file");
    let mut group = c.benchmark_group("prune");
    group.sample_size(10);
    group.bench_function("resnet50_file_to_file", |b| b.iter(|| file_to_file(&input, &output)));
    group.finish();
}

criterion_group!(benches, prune);
criterion_main!(benches);
