//! Images per second of a training step of ResNet-20 (CIFAR-10) at batch 64.
//!
//! Criterion reports the time of a step and, as throughput, images per second. Threads: all cores.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a measurement by hand: where the data lies comes from outside, and a failure may end it"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use secateur::autodiff::training::training_graph;
use secateur::engine::onnx_runtime;
use secateur::onnx::model::Model;
use secateur::onnx::raise::{TRAINING_OPSET, raise};
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;
use secateur::train::Sgd;
use secateur::train::state::State;
use secateur::train::step::TrainingStep;

const BATCH: usize = 64;

fn step(criterion: &mut Criterion) {
    let folder = std::env::var_os("SECATEUR_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut group = criterion.benchmark_group("training step, batch 64");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20).measurement_time(Duration::from_secs(15));
    for name in ["cifar10_resnet20_bn", "cifar10_resnet20"] {
        let file = folder.join("cifar_resnet").join(format!("{name}.onnx"));
        let Ok(model) = Model::load(&file, &ModelLimits::default()) else {
            eprintln!("skipped: {} is not there", file.display());
            continue;
        };
        let model = raise(&model, TRAINING_OPSET).expect("a known model can be raised").model;
        let input = model.graph().fed_inputs().next().expect("a known model has an input").name().to_owned();
        let shapes = [(input.clone(), vec![BATCH as i64, 3, 32, 32])].into();
        let graph = training_graph(&model, &shapes, BATCH, None).expect("a known model can be trained");
        let engine = onnx_runtime().expect("ONNX Runtime is there");
        let optimizer = Sgd { momentum: 0.9, weight_decay: 5e-4, nesterov: false };
        let mut step = TrainingStep::new(engine, &graph, optimizer, 0.0, threads).expect("the graph loads");
        let mut state = State::new(step.layout().read(&model));
        let pixels: Vec<f32> = (0..BATCH * 3 * 32 * 32).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        let inputs = [(input, Tensor::from_f32(&[BATCH, 3, 32, 32], &pixels))];
        let labels: Vec<i64> = (0..BATCH as i64).map(|i| i % 10).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(step.run(&mut state, &inputs, &labels, 1e-6).expect("the step runs")));
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
