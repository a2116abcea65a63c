//! Networks of the sizes of well-known ones, with random weights.

#![allow(dead_code, reason = "each program has its share of the networks")]

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::{GraphBuilder, Size};
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;

/// A network in the making.
struct Net {
    b: GraphBuilder,
    rng: ChaCha8Rng,
}

/// ResNet-50: 25.6 million parameters, BatchNormalization kept.
pub fn resnet50() -> Model {
    let mut net = Net::new("resnet50");
    let x = net.input(&[3, 224, 224]);
    let x = net.conv(&x, 3, 64, 7, 2);
    let x = net.b.node("Relu", &[&x], &[]);
    let mut x = net.max_pool(&x);
    let mut c_in = 64;
    for (blocks, width, stride) in [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)] {
        for block in 0..blocks {
            x = net.bottleneck(&x, c_in, width, if block == 0 { stride } else { 1 });
            c_in = 4 * width;
        }
    }
    let x = net.b.node("GlobalAveragePool", &[&x], &[]);
    let x = net.b.node("Flatten", &[&x], &[]);
    let y = net.gemm(&x, 2048, 1000);
    net.finish(&y, &[1000])
}

/// DenseNet-121: 8 million parameters, 58 concatenations that everything after them reads.
pub fn densenet121() -> Model {
    let mut net = Net::new("densenet121");
    let x = net.input(&[3, 224, 224]);
    let x = net.conv(&x, 3, 64, 7, 2);
    let x = net.b.node("Relu", &[&x], &[]);
    let mut x = net.max_pool(&x);
    let (mut width, growth) = (64, 32);
    for (block, layers) in [6, 12, 24, 16].into_iter().enumerate() {
        if block > 0 {
            let y = net.normalised(&x, width);
            let y = net.plain_conv(&y, width, width / 2, 1);
            let pool = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
            x = net.b.node("AveragePool", &[&y], &pool);
            width /= 2;
        }
        for _ in 0..layers {
            let y = net.normalised(&x, width);
            let y = net.plain_conv(&y, width, 4 * growth, 1);
            let y = net.normalised(&y, 4 * growth);
            let y = net.plain_conv(&y, 4 * growth, growth, 3);
            x = net.b.node("Concat", &[&x, &y], &[("axis", Attribute::Int(1))]);
            width += growth;
        }
    }
    let x = net.normalised(&x, width);
    let x = net.b.node("GlobalAveragePool", &[&x], &[]);
    let x = net.b.node("Flatten", &[&x], &[]);
    let y = net.gemm(&x, width, 1000);
    net.finish(&y, &[1000])
}

/// ViT-B/16: 86 million parameters, packed queries, keys and values.
pub fn vit_b16() -> Model {
    let (width, heads, layers, tokens) = (768, 12, 12, 196);
    let mut net = Net::new("vit_b16");
    let x = net.input(&[3, 224, 224]);
    let w = net.weight(&[width, 3, 16, 16]);
    let x = net.b.node("Conv", &[&x, &w], &[("strides", ints(&[16, 16])), ("kernel_shape", ints(&[16, 16]))]);
    let rows = net.numbers(&[0, width as i64, tokens as i64]);
    let x = net.b.node("Reshape", &[&x, &rows], &[]);
    let x = net.b.node("Transpose", &[&x], &[("perm", ints(&[0, 2, 1]))]);
    let positions = net.weight(&[1, tokens, width]);
    let x = net.b.node("Add", &[&x, &positions], &[]);
    let x = net.transformer(&x, width, heads, layers, tokens);
    let y = net.gemm(&x, width, 1000);
    net.finish(&y, &[1000])
}

/// A transformer encoder of 8 layers and about so many bytes of weights, over 32 rows of its own width.
pub fn transformer(bytes: usize) -> Model {
    let layers = 8;
    let heads = 8;
    // Of each layer 4 · width² weights of attention and 8 · width² of the dense part.
    let width = ((bytes / 4) as f64 / (12.0 * layers as f64)).sqrt() as usize / 64 * 64;
    let mut net = Net::new("transformer");
    let x = net.input(&[32, width]);
    let y = net.transformer(&x, width, heads, layers, 32);
    let y = net.gemm(&y, width, 10);
    net.finish(&y, &[10])
}

impl Net {
    fn new(name: &str) -> Self {
        Self { b: GraphBuilder::new(name), rng: ChaCha8Rng::seed_from_u64(1) }
    }

    fn input(&mut self, sizes: &[usize]) -> String {
        let sizes: Vec<Size> = [Size::from("n")].into_iter().chain(sizes.iter().map(|size| (*size).into())).collect();
        self.b.input("x", DataType::Float, &sizes)
    }

    fn finish(mut self, y: &str, sizes: &[usize]) -> Model {
        let sizes: Vec<Size> = [Size::from("n")].into_iter().chain(sizes.iter().map(|size| (*size).into())).collect();
        self.b.output(y, DataType::Float, &sizes);
        self.b.build(17)
    }

    fn max_pool(&mut self, x: &str) -> String {
        let pool = [("kernel_shape", ints(&[3, 3])), ("strides", ints(&[2, 2])), ("pads", ints(&[1; 4]))];
        self.b.node("MaxPool", &[x], &pool)
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

    /// A convolution and its normalisation.
    fn conv(&mut self, x: &str, c_in: usize, c_out: usize, kernel: usize, stride: usize) -> String {
        let w = self.weight(&[c_out, c_in, kernel, kernel]);
        let pad = (kernel / 2) as i64;
        let attributes = [("pads", ints(&[pad; 4])), ("strides", ints(&[stride as i64; 2]))];
        let y = self.b.node("Conv", &[x, &w], &attributes);
        self.batch_norm(&y, c_out)
    }

    fn plain_conv(&mut self, x: &str, c_in: usize, c_out: usize, kernel: usize) -> String {
        let w = self.weight(&[c_out, c_in, kernel, kernel]);
        let pad = (kernel / 2) as i64;
        self.b.node("Conv", &[x, &w], &[("pads", ints(&[pad; 4]))])
    }

    fn normalised(&mut self, x: &str, width: usize) -> String {
        let y = self.batch_norm(x, width);
        self.b.node("Relu", &[&y], &[])
    }

    /// Variances that keep the values of a deep network of these weights about where they are.
    fn batch_norm(&mut self, x: &str, width: usize) -> String {
        let parameters: Vec<String> = (0..4).map(|_| self.weight(&[width])).collect();
        let inputs: Vec<&str> = [x].into_iter().chain(parameters.iter().map(String::as_str)).collect();
        self.b.node("BatchNormalization", &inputs, &[])
    }

    /// Layers of attention and dense parts, then the mean over the rows.
    fn transformer(&mut self, x: &str, width: usize, heads: usize, layers: usize, rows: usize) -> String {
        let mut x = x.to_owned();
        for _ in 0..layers {
            let y = self.layer_norm(&x, width);
            let y = self.attention(&y, width, heads, rows);
            let y = self.b.node("Add", &[&x, &y], &[]);
            let z = self.layer_norm(&y, width);
            let z = self.dense(&z, width, 4 * width);
            let z = self.gelu(&z);
            let z = self.dense(&z, 4 * width, width);
            x = self.b.node("Add", &[&y, &z], &[]);
        }
        let x = self.layer_norm(&x, width);
        self.b.node("ReduceMean", &[&x], &[("axes", ints(&[1])), ("keepdims", Attribute::Int(0))])
    }

    fn attention(&mut self, x: &str, width: usize, heads: usize, rows: usize) -> String {
        let packed = self.dense(x, width, 3 * width);
        let split = self.numbers(&[0, rows as i64, 3, heads as i64, (width / heads) as i64]);
        let packed = self.b.node("Reshape", &[&packed, &split], &[]);
        let packed = self.b.node("Transpose", &[&packed], &[("perm", ints(&[2, 0, 3, 1, 4]))]);
        let [q, k, v] = [0, 1, 2].map(|part| {
            let index = self.b.constant(&Tensor::from_i64(&[], &[part]));
            self.b.node("Gather", &[&packed, &index], &[("axis", Attribute::Int(0))])
        });
        let k = self.b.node("Transpose", &[&k], &[("perm", ints(&[0, 1, 3, 2]))]);
        let scores = self.b.node("MatMul", &[&q, &k], &[]);
        let scale = self.b.constant(&Tensor::from_f32(&[], &[0.125]));
        let scores = self.b.node("Mul", &[&scores, &scale], &[]);
        let shares = self.b.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let y = self.b.node("MatMul", &[&shares, &v], &[]);
        let y = self.b.node("Transpose", &[&y], &[("perm", ints(&[0, 2, 1, 3]))]);
        let joined = self.numbers(&[0, rows as i64, width as i64]);
        let y = self.b.node("Reshape", &[&y, &joined], &[]);
        self.dense(&y, width, width)
    }

    fn gelu(&mut self, x: &str) -> String {
        let [root, one, half] =
            [std::f32::consts::SQRT_2, 1.0, 0.5].map(|value| self.b.constant(&Tensor::from_f32(&[], &[value])));
        let y = self.b.node("Div", &[x, &root], &[]);
        let y = self.b.node("Erf", &[&y], &[]);
        let y = self.b.node("Add", &[&y, &one], &[]);
        let y = self.b.node("Mul", &[x, &y], &[]);
        self.b.node("Mul", &[&y, &half], &[])
    }

    fn layer_norm(&mut self, x: &str, width: usize) -> String {
        let (scale, bias) = (self.weight(&[width]), self.weight(&[width]));
        self.b.node("LayerNormalization", &[x, &scale, &bias], &[("axis", Attribute::Int(-1))])
    }

    fn dense(&mut self, x: &str, c_in: usize, c_out: usize) -> String {
        let (w, b) = (self.weight(&[c_in, c_out]), self.weight(&[c_out]));
        let y = self.b.node("MatMul", &[x, &w], &[]);
        self.b.node("Add", &[&y, &b], &[])
    }

    fn gemm(&mut self, x: &str, c_in: usize, c_out: usize) -> String {
        let (w, b) = (self.weight(&[c_out, c_in]), self.weight(&[c_out]));
        self.b.node("Gemm", &[x, &w, &b], &[("transB", Attribute::Int(1))])
    }

    fn numbers(&mut self, values: &[i64]) -> String {
        self.b.constant(&Tensor::from_i64(&[values.len()], values))
    }

    fn weight(&mut self, shape: &[usize]) -> String {
        let scale = 1.0 / shape.iter().skip(1).product::<usize>() as f32;
        let numbers = (0..shape.iter().product()).map(|_| self.rng.random_range(0.01..1.0) * scale.max(0.001));
        let values: Vec<f32> = numbers.collect();
        self.b.constant(&Tensor::from_f32(shape, &values))
    }
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}
