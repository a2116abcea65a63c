//! Kills of the service, with its PostgreSQL or without it.

use serde_json::Value;

use super::moments::Moments;
use super::small_job::{REPEATABLE, SmallJob};
use crate::support::service::Service;

/// Longer than the tests wait for anything: a start that waited for the lease of its predecessor would be seen.
const LONG_LEASE: [&str; 2] = ["--lease", "1h"];

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let mut service = Service::start(&[&REPEATABLE[..], &LONG_LEASE[..]].concat()).await;
    let small = SmallJob::prepare(&service).await;
    let mut moments = Moments::new();
    let mut kills = 0;
    while kills < 6 {
        let job = small.submit(&service).await;
        for _ in 0..2 {
            service.attempt_pid(&job).await;
            moments.pass(small.duration / 2).await;
            if moments.coin() {
                eprintln!("the service alone; its PostgreSQL survives");
                service.kill_service().await;
            } else {
                eprintln!("everything");
                service.kill_everything().await;
            }
            service.restart().await;
        }
        // A job that was faster than the moment does not count.
        kills += small.ends_the_same(&service, &job).await["attempt"].as_u64().expect("a number") - 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_of_everything_a_job_does_not_wait_for_its_old_lease() {
    let mut service = Service::start(&[&REPEATABLE[..], &LONG_LEASE[..]].concat()).await;
    let small = SmallJob::prepare(&service).await;
    let job = small.submit(&service).await;
    let started = |attempt: u64| move |job: &Value| job["attempt"] == attempt && job["status"] == "running";
    service.until(&job, "the first attempt runs", started(1)).await;
    service.kill_everything().await;
    service.restart().await;
    service.until(&job, "the second attempt runs, under the first one's lease", started(2)).await;
    small.ends_the_same(&service, &job).await;
    let mut events = service.events(&job).await;
    events.retain(|event| ["queued", "started", "worker_lost", "succeeded"].iter().any(|kind| event["kind"] == *kind));
    let history: Vec<&Value> = events.iter().map(|event| &event["kind"]).collect();
    assert_eq!(history, ["queued", "started", "worker_lost", "started", "succeeded"]);
}
