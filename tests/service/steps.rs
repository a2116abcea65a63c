//! The models of a pipeline's finished steps, in the real program.

use serde_json::{Value, json};

use crate::support::digits;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_or_is_cancelled_leaves_the_models_of_the_steps_before_it() {
    let service = Service::start(&["--threads", "1"]).await;
    let (model, dataset) = digits::upload(&service).await;
    let pipeline = |retrain: Value| {
        json!({
            "kind": "pipeline", "model_id": model, "dataset_id": dataset, "name": "small",
            "spec": {"steps": [
                {"kind": "prune", "spec": {"target": {"params_kept": 0.5}}},
                {"kind": "retrain", "spec": retrain},
            ]},
        })
    };

    let diverging = json!({"epochs": 1, "optimizer": {"kind": "sgd", "learning_rate": 1e20}});
    let failed = service.submit(&pipeline(diverging)).await;
    let ended = service.finished(&failed).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("diverged")), "{ended:#}");
    is_kept(&service, &model, &ended).await;

    let endless = service.submit(&pipeline(json!({"epochs": 10_000}))).await;
    service.until(&endless, "it is being retrained", |job| job["stage"] == "retraining").await;
    service.cancel(&endless).await;
    let ended = service.finished(&endless).await;
    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    is_kept(&service, &model, &ended).await;
}

/// The pruned model can be had, and nothing else came out.
async fn is_kept(service: &Service, started_from: &str, job: &Value) {
    assert_eq!(job["output_model_id"], Value::Null);
    let models = service.models_of(job["id"].as_str().expect("an id")).await;
    let [pruned] = models.as_slice() else { panic!("{models:#?}") };
    assert_eq!(job["models"], json!([{"step": 0, "model_id": pruned["id"]}]));
    assert_eq!((&pruned["parent_id"], &pruned["step"]), (&json!(started_from), &json!(0)));
    // The chosen name is that of the job's output.
    assert_eq!((&pruned["name"], &pruned["certificate"]["passed"]), (&json!("digits-pruned"), &json!(true)));
    let file = service.download(pruned["id"].as_str().expect("an id")).await;
    assert_eq!(json!(file.len()), pruned["size_bytes"]);
}
