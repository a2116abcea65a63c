//! Cancels of a running job.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::moments::Moments;
use super::small_job::{REPEATABLE, SmallJob};
use crate::support::app::problem;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_at_any_moment_ends_within_five_seconds_and_leaves_no_more_than_the_steps_that_were_done()
 {
    let service = Service::start(&REPEATABLE).await;
    let small = SmallJob::prepare(&service).await;
    let mut moments = Moments::new();
    let mut cancelled = 0;
    while cancelled < 6 {
        let job = small.submit(&service).await;
        service.until(&job, "it runs", |job| job["status"] == "running").await;
        moments.pass(small.duration.mul_f64(0.8)).await;
        let began = Instant::now();
        let standing = service.cancel(&job).await;
        if standing["status"] == "succeeded" {
            // It was faster than the moment.
            continue;
        }
        let ended = service.finished(&job).await;
        let took = began.elapsed();
        assert_eq!(ended["status"], "cancelled", "{ended:#}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        cancelled += 1;

        assert_eq!(ended["output_model_id"], Value::Null);
        // The models of the steps that were done by then, and of no other.
        let done: Vec<Value> = (service.events(&job).await.iter())
            .filter(|event| event["kind"] == "step_finished" && !event["data"]["model_id"].is_null())
            .map(|event| json!({"step": event["data"]["step"], "model_id": event["data"]["model_id"]}))
            .collect();
        assert_eq!(ended["models"], json!(done));
        assert_eq!(service.models_of(&job).await.len(), done.len());
        for (results, code) in [("report", "report_not_available"), ("plan", "plan_not_available")] {
            let response = service.get(&format!("/v1/jobs/{job}/{results}")).send().await.expect("an answer");
            problem(response, StatusCode::NOT_FOUND, code).await;
        }
        assert_eq!(Service::attempt_of(&job), None, "nobody works on it any more");
    }
}
