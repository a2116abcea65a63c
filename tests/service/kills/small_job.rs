//! The job that is disturbed: the digits classifier is pruned and retrained for some seconds. With one thread, the same
//! job makes the same bytes on one machine.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::digits;
use crate::support::service::Service;

/// Arguments under which the job makes the same bytes every time, and keeps many checkpoints while it does.
pub const REPEATABLE: [&str; 4] = ["--threads", "1", "--checkpoint-interval", "300ms"];

/// Some seconds of work on one thread.
const EPOCHS: usize = 12;

/// The job's inputs in a service, and what comes of them undisturbed.
pub struct SmallJob {
    request: Value,
    /// The model after the retraining.
    model: Bytes,
    /// The figures of its epochs, as the report has them.
    epochs: Value,
    /// How long an undisturbed run takes, from submission to result.
    pub duration: Duration,
}

impl SmallJob {
    /// Uploads the inputs and runs the job undisturbed.
    pub async fn prepare(service: &Service) -> Self {
        let (model, dataset) = digits::upload(service).await;
        let request = json!({
            "kind": "pipeline", "model_id": model, "dataset_id": dataset,
            "spec": {"steps": [
                {"kind": "prune", "spec": {"target": {"params_kept": 0.5}}},
                {"kind": "retrain", "spec": {"epochs": EPOCHS, "batch_size": 32, "optimizer": {"kind": "sgd", "learning_rate": 0.02}}},
            ]},
        });
        let began = Instant::now();
        let job = service.succeeded(&service.submit(&request).await).await;
        let duration = began.elapsed();
        Self { request, model: output(service, &job).await, epochs: epochs(service, &job).await, duration }
    }

    pub async fn submit(&self, service: &Service) -> String {
        service.submit(&self.request).await
    }

    /// Waits for the end of a job, which must be the one that an undisturbed run has, without doing an epoch twice.
    pub async fn ends_the_same(&self, service: &Service, job_id: &str) -> Value {
        let job = service.succeeded(job_id).await;
        let model = output(service, &job).await;
        assert!(model == self.model, "another model: {} bytes, not {}", model.len(), self.model.len());
        assert_eq!(epochs(service, &job).await, self.epochs);
        // An epoch is told after the checkpoint that ends it is kept, so that nobody who goes on from there tells it again.
        let events = service.events(job_id).await;
        let told: Vec<_> =
            events.iter().filter(|event| event["kind"] == "epoch").map(|event| &event["data"]["epoch"]).collect();
        let told: Vec<u64> = told.into_iter().map(|epoch| epoch.as_u64().expect("a number")).collect();
        assert!(told.is_sorted_by(|a, b| a < b), "an epoch was done twice: {told:?}");
        // Each step ended once and published one model.
        let ends: Vec<_> = events.iter().filter(|event| event["kind"] == "step_finished").collect();
        assert_eq!(ends.iter().map(|event| &event["data"]["step"]).collect::<Vec<_>>(), [0, 1]);
        let mut models = service.models_of(job_id).await;
        models.sort_by_key(|model| model["step"].as_u64());
        assert_eq!(models.iter().map(|model| &model["step"]).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((&models[0]["id"], &models[1]["id"]), (&ends[0]["data"]["model_id"], &job["output_model_id"]));
        assert_eq!(models[1]["parent_id"], models[0]["id"]);
        job
    }
}

async fn output(service: &Service, job: &Value) -> Bytes {
    service.download(job["output_model_id"].as_str().expect("a model was made")).await
}

async fn epochs(service: &Service, job: &Value) -> Value {
    let report = service.report(job["id"].as_str().expect("an id")).await;
    let epochs = report["steps"][1]["retrain"]["epochs"].clone();
    assert_eq!(epochs.as_array().map(Vec::len), Some(EPOCHS), "{report:#}");
    epochs
}
