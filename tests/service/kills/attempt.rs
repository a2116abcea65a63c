//! Kills of the process that works on a job.

use super::moments::Moments;
use super::small_job::{REPEATABLE, SmallJob};
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_killed_at_any_moment_costs_the_result_nothing() {
    let service = Service::start(&REPEATABLE).await;
    let small = SmallJob::prepare(&service).await;
    let mut moments = Moments::new();
    let mut kills = 0;
    while kills < 8 {
        let job = small.submit(&service).await;
        // Two of a job: more than three would be held against it.
        for _ in 0..2 {
            service.attempt_pid(&job).await;
            moments.pass(small.duration / 2).await;
            service.kill_attempt(&job).await;
        }
        // A job that was faster than the moment does not count.
        kills += small.ends_the_same(&service, &job).await["attempt"].as_u64().expect("a number") - 1;
    }
}
