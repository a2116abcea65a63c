//! What a run of ONNX Runtime costs beside the computing: one small feed, and as many feeds and outputs as a training
//! step of a small network has.

use criterion::{Criterion, criterion_group, criterion_main};
use secateur::engine::{Engine as _, SessionOptions, onnx_runtime};
use secateur::onnx::builder::GraphBuilder;
use secateur::onnx::dtype::DataType;
use secateur::onnx::tensor::Tensor;

#[expect(clippy::print_stdout, reason = "says what was skipped")]
fn overhead(criterion: &mut Criterion) {
    let runtime = match onnx_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return println!("skipped: {error}"),
    };
    for (feeds, width) in [(1, 1), (60, 1), (60, 64)] {
        let mut b = GraphBuilder::new("negatives");
        for number in 0..feeds {
            let x = b.input(&format!("x{number}"), DataType::Float, &[width.into(), width.into()]);
            let y = b.node("Neg", &[&x], &[]);
            b.output(&y, DataType::Float, &[width.into(), width.into()]);
        }
        let tensor = Tensor::from_f32(&[width, width], &vec![1.0; width * width]);
        let names: Vec<String> = (0..feeds).map(|number| format!("x{number}")).collect();
        let inputs: Vec<(&str, &Tensor)> = names.iter().map(|name| (name.as_str(), &tensor)).collect();
        let Ok(mut session) = runtime.load(&b.build(17), &SessionOptions::default()) else {
            return println!("skipped: the graph does not load");
        };
        criterion.bench_function(&format!("run, {feeds} inputs of {width} × {width}"), |bencher| {
            bencher.iter(|| session.run(&inputs).map(|outputs| outputs.len()));
        });
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);
