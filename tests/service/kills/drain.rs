//! Orderly ends of the service while a job runs.

use super::moments::Moments;
use super::small_job::{REPEATABLE, SmallJob};
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_drained_at_any_moment_goes_on_uncharged() {
    let mut service = Service::start(&REPEATABLE).await;
    let small = SmallJob::prepare(&service).await;
    let mut moments = Moments::new();
    let job = small.submit(&service).await;
    for _ in 0..2 {
        service.until(&job, "it is being retrained", |job| job["stage"] == "retraining").await;
        moments.pass(small.duration / 4).await;
        let status = service.stop().await;
        assert!(status.success(), "{status}");
        assert!(service.pids().is_empty(), "nothing is left running");
        service.restart().await;
    }
    let ended = small.ends_the_same(&service, &job).await;
    assert_eq!(ended["attempt"], 1, "an attempt that was given back does not count");
    let released = service.events(&job).await.into_iter().filter(|event| event["kind"] == "released").count();
    assert_eq!(released, 2);
}
