//! Claim throughput: jobs a second that workers take from a queue which is never empty, each claim a transaction of its own.
//!
//! The server is the tests' own (durability off) unless `DATABASE_URL` names another, as a superuser.

#![expect(clippy::print_stderr, clippy::disallowed_methods, reason = "the support of the tests does both")]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use secateur::queue::NewJob;
use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;

#[path = "../tests/service/support/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod support;

use support::world::{World, new_job};

/// Jobs that wait while claims are timed, so that the queue has a backlog to pick from.
const BACKLOG: usize = 1_000;

async fn enqueue(world: &World, job: &NewJob, count: usize) {
    for _ in 0..count {
        world.enqueue_new(&NewJob { id: Uuid::now_v7(), ..job.clone() }).await.expect("a job");
    }
}

/// Time that `workers` need together for `count` claims.
async fn claim(world: &World, workers: usize, count: u64) -> Duration {
    let started = Instant::now();
    let each = |worker: usize| async move {
        let id = Uuid::now_v7();
        let share = count / workers as u64 + u64::from((worker as u64) < count % workers as u64);
        for _ in 0..share {
            world.claim_as(id).await.expect("the queue is not empty");
        }
    };
    futures_util::future::join_all((0..workers).map(each)).await;
    started.elapsed()
}

fn benchmark(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::new());
    let model = runtime.block_on(world.model());
    let job = new_job(&json!({ "kind": "evaluate", "model_id": model.id }));
    runtime.block_on(enqueue(&world, &job, BACKLOG));
    let mut group = c.benchmark_group("claim");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for workers in [1, 4] {
        group.bench_function(BenchmarkId::new("workers", workers), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    enqueue(&world, &job, count as usize).await;
                    claim(&world, workers, count).await
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
