//! SIGTERM, and cancels of real jobs.

use std::time::{Duration, Instant};

use super::service::{DataDir, Service};

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_retraining_is_not_charged_and_ends_with_the_same_model() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let digits = service.digits().await;
    let undisturbed = service.retrain(&digits).await;
    let undisturbed = service.output(&service.ended(&undisturbed).await).await;

    let job = service.retrain(&digits).await;
    service.until(&job, "it is well under way", |job| job["progress"].as_f64() > Some(0.3)).await;
    let began = Instant::now();
    service.stop();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    let service = Service::start(&data.path());
    let ended = service.ended(&job).await;
    assert_eq!(ended["attempt"], 1, "the drained attempt was given back");
    assert!(service.history(&job).await.contains(&"released".to_owned()));
    assert_eq!(service.output(&ended).await, undisturbed);
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_retraining_ends_within_five_seconds_and_publishes_nothing() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let digits = service.digits().await;
    let before = service.get("/v1/models").await["items"].as_array().unwrap().len();
    for progress in [0.0, 0.2, 0.6] {
        let job = service.retrain(&digits).await;
        service
            .until(&job, "it runs", |job| job["status"] == "running" && job["progress"].as_f64() >= Some(progress))
            .await;
        let began = Instant::now();
        service.cancel(&job).await;
        let ended = service.ended(&job).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(ended["status"], "cancelled", "{ended:#}");
    }
    assert_eq!(service.get("/v1/models").await["items"].as_array().unwrap().len(), before);
    service.stop();
}
