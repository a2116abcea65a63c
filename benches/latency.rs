//! What cutting gains on ONNX Runtime: a model of ResNet-50's shape, cut to half of its multiply-accumulates with different
//! roundings, beside the original; batch 1, one thread.
//!
//! All models run in turns, so that a busy moment of the machine meets each of them; the speed-up is taken of each round.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::time::Instant;

use secateur::engine::{Engine as _, Session, SessionOptions, onnx_runtime};
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;
use secateur::prune::cut_without_certificate;
use secateur::spec::prune::{PruneRequest, Scope, Target};

mod networks;

const ROUNDS: usize = 40;

fn main() {
    let model = networks::resnet50();
    let kinds: Vec<(Scope, u32)> =
        [Scope::Global, Scope::Local].into_iter().flat_map(|scope| [1, 4, 8, 16, 32].map(|to| (scope, to))).collect();
    let cut = |(scope, round_to): &(Scope, u32)| {
        let target = Some(Target::MacsKept(0.5));
        let request =
            PruneRequest { target, scope: *scope, round_to: Some((*round_to).into()), ..PruneRequest::default() };
        cut_without_certificate(&model, &request.parse().expect("the request is sound")).expect("it can be cut").0
    };
    let load = |model: &Model| -> Box<dyn Session> {
        let runtime = onnx_runtime().expect("ONNX Runtime is at hand");
        runtime.load(model, &SessionOptions::with_threads(1)).expect("it loads")
    };
    let mut sessions: Vec<Box<dyn Session>> = vec![load(&model)];
    sessions.extend(kinds.iter().map(|kind| load(&cut(kind))));
    let x = Tensor::from_f32(&[1, 3, 224, 224], &vec![0.5; 3 * 224 * 224]);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); sessions.len()];
    for round in 0..ROUNDS + 3 {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let start = Instant::now();
            session.run(&[("x", &x)]).expect("it runs");
            // The first rounds warm up.
            if round >= 3 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!("| scope | round_to | ms, median | faster, median | p10 | p90 |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    println!("| original | | {:.1} | | | |", at(times[0].clone(), 0.5));
    for ((scope, round_to), cut) in kinds.iter().zip(&times[1..]) {
        let faster: Vec<f64> = times[0].iter().zip(cut).map(|(before, after)| before / after).collect();
        let [low, middle, high] = [0.1, 0.5, 0.9].map(|share| at(faster.clone(), share));
        println!("| {scope:?} | {round_to} | {:.1} | {middle:.2} | {low:.2} | {high:.2} |", at(cut.clone(), 0.5));
    }
}

fn at(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
