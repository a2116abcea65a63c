//! Makes `digits.onnx`: a small convolutional network for the handwritten digits, trained from random weights by this
//! crate's own engine.
//!
//! ```text
//! cargo run --example digits
//! ```
//!
//! Reads `digits-train.npz` and `digits-test.npz` beside this file and writes `digits.onnx` there. The same machine and
//! library give the same file.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use secateur::data::{Dataset, Reader};
use secateur::engine::{Engine as _, SessionOptions, onnx_runtime};
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::{AttemptMessage, DatasetLimits};
use secateur::spec::observer::Observer;
use secateur::spec::preprocess::Preprocess;
use secateur::spec::retrain::{Augment, Optimizer, RetrainSpec, Schedule};
use secateur::train::checkpoint::NoCheckpoints;
use secateur::train::{Context, retrain};

const THREADS: u32 = 2;
/// Output channels of each convolution; the images are halved after the second.
const CHANNELS: [usize; 4] = [32, 32, 48, 64];
const CLASSES: usize = 10;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    let training = open(&folder.join("digits-train.npz"))?;
    let spec = RetrainSpec {
        epochs: 30,
        validation_fraction: 0.0,
        batch_size: 32,
        optimizer: Optimizer::Sgd { learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4, nesterov: true },
        schedule: Schedule::Cosine { warmup_steps: 40 },
        augment: Augment { horizontal_flip: false, crop_padding: 1 },
        ..RetrainSpec::default()
    };
    let mut context =
        Context { threads: THREADS, observer: &Printer, checkpoints: &mut NoCheckpoints, step: 0, progress: 0.0..1.0 };
    let retrained = retrain(&random_network(1), &training, &spec, &mut context)?;
    let accuracy = accuracy(&retrained.model, &open(&folder.join("digits-test.npz"))?)?;
    let parameters = retrained.report.trained_parameters;
    say(&format!("{parameters} parameters, test accuracy {:.2} %", 100.0 * accuracy));
    ensure!(parameters <= 60_000 && accuracy >= 0.97, "the example should be small and good");
    retrained.model.save(&folder.join("digits.onnx")).context("writing digits.onnx")
}

/// Grey values are 0 to 16.
fn open(file: &Path) -> Result<Dataset> {
    let preprocess = Preprocess { divide_by: 16.0, ..Preprocess::default() };
    Dataset::open(file, Some(&preprocess), &DatasetLimits::default())
        .with_context(|| format!("opening {}", file.display()))
}

/// Convolution, batch normalisation and `Relu` four times, the mean over the image, one dense layer.
fn random_network(seed: u64) -> Model {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut b = GraphBuilder::new("digits");
    let mut y = b.input("image", DataType::Float, &["batch".into(), 1.into(), 8.into(), 8.into()]);
    let mut c_in = 1;
    for (i, c_out) in CHANNELS.into_iter().enumerate() {
        // He et al. 2015: variance 2 ÷ inputs of a unit.
        let deviation = (2.0 / (c_in as f32 * 9.0)).sqrt();
        let w = b.initializer(&format!("conv{i}.weight"), &normal(&mut random, &[c_out, c_in, 3, 3], deviation));
        let pads = [("pads", Attribute::Ints(vec![1; 4])), ("kernel_shape", Attribute::Ints(vec![3, 3]))];
        y = b.node("Conv", &[&y, &w], &pads);
        let mut vector = |name: &str, value: f32| {
            b.initializer(&format!("norm{i}.{name}"), &Tensor::from_f32(&[c_out], &vec![value; c_out]))
        };
        let [scale, bias, mean, variance] =
            [vector("scale", 1.0), vector("bias", 0.0), vector("mean", 0.0), vector("variance", 1.0)];
        y = b.node("BatchNormalization", &[&y, &scale, &bias, &mean, &variance], &[]);
        y = b.node("Relu", &[&y], &[]);
        if i == 1 {
            let window = [("kernel_shape", Attribute::Ints(vec![2, 2])), ("strides", Attribute::Ints(vec![2, 2]))];
            y = b.node("MaxPool", &[&y], &window);
        }
        c_in = c_out;
    }
    y = b.node("GlobalAveragePool", &[&y], &[]);
    y = b.node("Flatten", &[&y], &[]);
    let w = b.initializer("dense.weight", &normal(&mut random, &[CLASSES, c_in], (1.0 / c_in as f32).sqrt()));
    let bias = b.initializer("dense.bias", &Tensor::from_f32(&[CLASSES], &[0.0; CLASSES]));
    b.raw_node("", "Gemm", &[&y, &w, &bias], &[("transB", Attribute::Int(1))], &["logits".into()]);
    b.output("logits", DataType::Float, &["batch".into(), CLASSES.into()]);
    b.build(17)
}

/// Normally distributed numbers, two at a time (Box and Muller 1958).
fn normal(random: &mut ChaCha8Rng, shape: &[usize], deviation: f32) -> Tensor {
    let count: usize = shape.iter().product();
    let mut uniform = || (f64::from(random.next_u32()) + 0.5) / 4_294_967_296.0;
    let numbers: Vec<f32> = (0..count.div_ceil(2))
        .flat_map(|_| {
            let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f64::consts::TAU * uniform());
            [radius * angle.cos(), radius * angle.sin()]
        })
        .map(|number| number as f32 * deviation)
        .take(count)
        .collect();
    Tensor::from_f32(shape, &numbers)
}

/// Share of the images whose largest score is that of their class.
fn accuracy(model: &Model, dataset: &Dataset) -> Result<f64> {
    let samples: Vec<usize> = (0..dataset.len()).collect();
    let batch = Reader::new(dataset, model)?.batch(&samples)?;
    let mut session = onnx_runtime()?.load(model, &SessionOptions::with_threads(THREADS as usize))?;
    let outputs = session.run(&batch.feeds())?;
    let scores = outputs[0].to_f32()?;
    let right = scores.chunks(CLASSES).zip(&batch.labels).filter(|(row, label)| {
        let best = (0..CLASSES).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        best == usize::try_from(**label).ok()
    });
    Ok(right.count() as f64 / samples.len() as f64)
}

/// Prints what the training has to tell of its epochs.
struct Printer;

impl Observer for Printer {
    fn tell(&self, message: AttemptMessage) {
        if let AttemptMessage::Event { event } = message {
            say(&event.message);
        }
    }

    fn should_stop(&self) -> bool {
        false
    }
}

#[expect(clippy::print_stdout, reason = "this program's output")]
fn say(line: &str) {
    println!("{line}");
}
