//! Jobs that take more than they may.

use serde_json::json;

use super::service::{DataDir, Service, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_too_much_memory_fails_after_one_more_try_and_the_service_goes_on() {
    let data = DataDir::new();
    let mut command = command(&data.path());
    // Less than ONNX Runtime takes for this model, more than a look into an upload does.
    command.args(["--job-memory", "24MiB"]);
    let service = Service::start_with(command);
    let digits = service.digits().await;
    let job = service.retrain(&digits).await;
    let ended = service.ended(&job).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("out_of_memory")), "{ended:#}");
    let tries = service.history(&job).await.iter().filter(|kind| *kind == "started").count();
    assert_eq!(tries, 2);
    assert_eq!(service.get("/readyz").await["status"], "ok");
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_too_long_is_ended() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let digits = service.digits().await;
    let job = service.retrain_with(&digits, json!({"epochs": 10_000}), Some(1)).await;
    let ended = service.ended(&job).await;
    assert_eq!(
        (&ended["status"], &ended["error"]["code"]),
        (&json!("failed"), &json!("deadline_exceeded")),
        "{ended:#}"
    );
    assert_eq!(service.attempt(), None, "its process has ended");
    service.stop();
}
