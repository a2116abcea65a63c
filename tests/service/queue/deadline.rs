//! A deadline is on running time, not on waiting time.

use std::time::Duration;

use secateur::queue::{self, Next, Renewal};
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobStatus;

use crate::support::world::{LEASE, World, failure};

const MINUTE: Duration = Duration::from_mins(1);

/// Equal but for the seconds that a slow test machine needs between two statements.
fn about(left: Duration, right: Duration) -> bool {
    left.abs_diff(right) < Duration::from_secs(30)
}

#[tokio::test]
async fn waiting_uses_up_nothing() {
    let world = World::new().await;
    let id = world.enqueue().await.id;
    sqlx::query("update jobs set run_at = now() - interval '10 days' where id = $1")
        .bind(id)
        .execute(&mut *world.conn().await)
        .await
        .unwrap();
    assert_eq!(world.claim().await.time_left, Duration::from_hours(1));
}

#[tokio::test]
async fn the_time_of_every_attempt_counts() {
    let world = World::new().await;
    let first = world.running().await.lease;
    world.attempt_has_run(first.job_id, 10 * MINUTE).await;
    let Renewal::Held { time_left, .. } = queue::renew(&mut *world.conn().await, &first, LEASE).await.unwrap() else {
        panic!("the lease is held")
    };
    assert!(about(time_left, 50 * MINUTE), "{time_left:?}");
    queue::release(&mut *world.conn().await, &first).await.unwrap();

    let second = world.claim().await;
    assert!(about(second.time_left, 50 * MINUTE), "{:?}", second.time_left);
    world.attempt_has_run(first.job_id, 20 * MINUTE).await;
    queue::fail(&mut *world.conn().await, &second.lease, &failure(FailureCode::OutOfMemory)).await.unwrap();
    world.pauses_pass().await;
    assert!(about(world.claim().await.time_left, 30 * MINUTE));
}

#[tokio::test]
async fn of_a_lost_worker_only_the_time_up_to_its_last_heartbeat_counts() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    sqlx::query(
        "update jobs set attempt_started_at = now() - interval '50 minutes',
             lease_renewed_at = now() - interval '40 minutes', lease_expires_at = now() - interval '39 minutes'",
    )
    .execute(&mut *world.conn().await)
    .await
    .unwrap();
    world.rescue().await;
    let claim = world.claim().await;
    assert_eq!(claim.lease.job_id, lease.job_id);
    assert!(about(claim.time_left, 50 * MINUTE), "{:?}", claim.time_left);
}

#[tokio::test]
async fn a_job_without_time_left_is_not_tried_again() {
    let world = World::new().await;
    for code in [FailureCode::OutOfMemory, FailureCode::WorkerLost] {
        let lease = world.running().await.lease;
        world.attempt_has_run(lease.job_id, 61 * MINUTE).await;
        let next = queue::fail(&mut *world.conn().await, &lease, &failure(code)).await.unwrap();
        assert!(matches!(next, Next::Failed(failure) if failure.code == FailureCode::DeadlineExceeded));
    }
}

#[tokio::test]
async fn a_job_that_runs_on_past_its_deadline_is_ended_though_its_lease_is_renewed() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    world.attempt_has_run(lease.job_id, 60 * MINUTE + Duration::from_secs(30)).await;
    let Renewal::Held { time_left, .. } = queue::renew(&mut *world.conn().await, &lease, LEASE).await.unwrap() else {
        panic!("the lease is held")
    };
    assert_eq!(time_left, Duration::ZERO);
    assert_eq!(world.rescue().await, [], "its worker still has the time to end it");
    world.attempt_has_run(lease.job_id, 62 * MINUTE).await;
    assert_eq!(world.rescue().await.len(), 1);
    let job = world.job(lease.job_id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.error.unwrap().code, FailureCode::DeadlineExceeded);
}
