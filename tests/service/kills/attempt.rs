//! Kills of the process that works on a job.

use super::small_job::{Moments, REPEATABLE, SmallJob};
use crate::support::process;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_killed_at_any_moment_costs_the_result_nothing() {
    let service = Service::start(&REPEATABLE).await;
    let small = SmallJob::prepare(&service).await;
    let mut moments = Moments::new();
    for _ in 0..4 {
        let job = small.submit(&service).await;
        let mut kills = 0;
        for _ in 0..2 {
            service.attempt_pid(&job).await;
            moments.pass(small.duration / 2).await;
            let Some(attempt) = service.attempt_of(&job) else { continue };
            process::kill(attempt);
            kills += 1;
        }
        let ended = small.ends_the_same(&service, &job).await;
        assert_eq!(ended["attempt"], 1 + kills);
    }
}
