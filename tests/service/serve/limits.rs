//! Jobs that take more than they may.

use serde_json::{Value, json};

use crate::support::digits;
use crate::support::service::Service;

async fn retraining(service: &Service, spec: Value, deadline_seconds: Option<u32>) -> Value {
    let (model, dataset) = digits::upload(service).await;
    let request = json!({
        "kind": "retrain", "model_id": model, "dataset_id": dataset, "spec": spec, "deadline_seconds": deadline_seconds,
    });
    service.finished(&service.submit(&request).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_too_much_memory_fails_after_one_more_try_and_the_service_goes_on() {
    // Less than ONNX Runtime takes for this model, more than a look into an upload does.
    let service = Service::start(&["--job-memory", "24MiB", "--threads", "1"]).await;
    let ended = retraining(&service, json!({"epochs": 6}), None).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("out_of_memory")), "{ended:#}");
    let mut events = service.events(ended["id"].as_str().unwrap()).await;
    events.retain(|event| event["kind"] == "started");
    assert_eq!(events.len(), 2);
    assert_eq!(service.read("/readyz").await["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_too_long_is_ended() {
    let service = Service::start(&["--threads", "1"]).await;
    let ended = retraining(&service, json!({"epochs": 10_000}), Some(1)).await;
    let outcome = (&ended["status"], &ended["error"]["code"]);
    assert_eq!(outcome, (&json!("failed"), &json!("deadline_exceeded")), "{ended:#}");
    assert_eq!(Service::attempt_of(ended["id"].as_str().unwrap()), None, "its process has ended");
}
