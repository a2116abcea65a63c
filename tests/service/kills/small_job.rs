//! The job that is disturbed: the digits classifier is pruned and retrained for some seconds. With one thread, the same
//! job makes the same bytes on one machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::service::Service;

/// Arguments under which the job makes the same bytes every time, and keeps many checkpoints while it does.
pub const REPEATABLE: [&str; 4] = ["--threads", "1", "--checkpoint-interval", "300ms"];

/// The job's inputs in a service, and what comes of them undisturbed.
pub struct SmallJob {
    request: Value,
    /// The bytes of the model after the retraining.
    pub expected: Bytes,
    /// How long an undisturbed run takes, from submission to result.
    pub duration: Duration,
}

impl SmallJob {
    /// Uploads the inputs and runs the job undisturbed.
    pub async fn prepare(service: &Service) -> Self {
        let model = service.upload_model(&digits("digits.onnx"), "digits").await;
        let dataset =
            service.upload_dataset(&digits("digits-train.npz"), "train", Some(json!({"divide_by": 16}))).await;
        let request = json!({
            "kind": "pipeline", "model_id": model, "dataset_id": dataset,
            "spec": {"steps": [
                {"kind": "prune", "spec": {"target": {"params_kept": 0.5}}},
                {"kind": "retrain", "spec": {"epochs": 20, "batch_size": 32, "optimizer": {"kind": "sgd", "learning_rate": 0.02}}},
            ]},
        });
        let began = Instant::now();
        let job = service.submit(&request).await;
        let expected = output(service, &service.succeeded(&job).await).await;
        eprintln!("undisturbed: {:?}", began.elapsed());
        Self { request, expected, duration: began.elapsed() }
    }

    pub async fn submit(&self, service: &Service) -> String {
        service.submit(&self.request).await
    }

    /// Waits for the end of a job, which must be the one that an undisturbed run has.
    pub async fn ends_the_same(&self, service: &Service, job_id: &str) -> Value {
        let job = service.succeeded(job_id).await;
        let made = output(service, &job).await;
        assert!(made == self.expected, "another model: {} bytes, not {}", made.len(), self.expected.len());
        job
    }
}

async fn output(service: &Service, job: &Value) -> Bytes {
    service.download(job["output_model_id"].as_str().expect("a model was made")).await
}

pub fn digits(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/digits").join(file)
}

/// Random moments; their seed is told, and can be given as `MOMENTS_SEED` to see the same ones again.
pub struct Moments(ChaCha8Rng);

impl Moments {
    pub fn new() -> Self {
        let seed = match std::env::var("MOMENTS_SEED") {
            Ok(seed) => seed.parse().expect("MOMENTS_SEED is a number"),
            Err(_) => rand::random(),
        };
        eprintln!("the moments of this run: MOMENTS_SEED={seed}");
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Lets a random part of `duration` pass.
    pub async fn pass(&mut self, duration: Duration) {
        let moment = duration.mul_f64(self.0.random::<f64>());
        eprintln!("a moment after {} ms", moment.as_millis());
        tokio::time::sleep(moment).await;
    }
}
