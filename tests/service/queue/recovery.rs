//! Retries, lost workers, orderly departures.

use secateur::queue::{self, CRASH_CAP, Next};
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobStatus;
use secateur::store::tenant::DEFAULT_TENANT;
use uuid::Uuid;

use crate::support::world::{World, failure};

async fn fail(world: &World, lease: &queue::Lease, code: FailureCode) -> Next {
    queue::fail(&mut *world.conn().await, lease, &failure(code)).await.unwrap()
}

#[tokio::test]
async fn memory_gets_one_more_try_after_a_pause() {
    let world = World::new().await;
    let first = world.running().await;
    fail(&world, &first.lease, FailureCode::OutOfMemory).await;
    let job = world.job(first.lease.job_id).await;
    assert_eq!((job.status, job.attempt, job.retries, job.crash_count), (JobStatus::Queued, 1, 1, 0));
    assert!(world.claim_as(Uuid::now_v7()).await.is_none(), "the pause has not passed");

    world.pauses_pass().await;
    let second = world.claim().await;
    assert_eq!(second.attempt, 2);
    fail(&world, &second.lease, FailureCode::OutOfMemory).await;
    let job = world.job(first.lease.job_id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.error, Some(failure(FailureCode::OutOfMemory)));
    let kinds = world.event_kinds(job.id).await;
    assert_eq!(kinds, ["queued", "started", "retrying", "started", "failed"]);
    assert_eq!(world.outcomes(job.id).await, ["retried", "failed"]);
}

#[tokio::test]
async fn a_job_whose_worker_vanishes_goes_on_until_the_cap() {
    let world = World::new().await;
    let id = world.enqueue().await.id;
    for crash in 0..CRASH_CAP {
        world.pauses_pass().await;
        let lease = world.claim().await.lease;
        world.lease_runs_out(&lease).await;
        world.rescue().await;
        let job = world.job(id).await;
        assert_eq!((job.status, job.crash_count, job.retries), (JobStatus::Queued, crash + 1, 0));
    }
    world.pauses_pass().await;
    let lease = world.claim().await.lease;
    world.lease_runs_out(&lease).await;
    world.rescue().await;
    let job = world.job(id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.error.unwrap().code, FailureCode::WorkerCrashed);
}

#[tokio::test]
async fn an_attempt_killed_from_outside_counts_as_a_crash_and_not_as_a_retry() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    fail(&world, &lease, FailureCode::WorkerLost).await;
    let job = world.job(lease.job_id).await;
    assert_eq!((job.crash_count, job.retries), (1, 0));
    assert_eq!(world.claim().await.lease.job_id, job.id, "the first recovery has no pause");
}

#[tokio::test]
async fn a_released_attempt_is_not_charged_and_its_checkpoint_is_kept() {
    let world = World::new().await;
    let claim = world.running().await;
    let files = world.checkpoint().await;
    queue::save_checkpoint(&mut *world.conn().await, &claim.lease, &files).await.unwrap();
    queue::release(&mut *world.conn().await, &claim.lease).await.unwrap();
    let job = world.job(claim.lease.job_id).await;
    assert_eq!((job.status, job.attempt, job.retries, job.crash_count), (JobStatus::Queued, 0, 0, 0));

    let again = world.claim().await;
    assert_eq!((again.attempt, again.lease.token), (1, claim.lease.token + 1));
    let loaded = queue::load_checkpoint(&mut *world.conn().await, DEFAULT_TENANT, job.id).await.unwrap();
    assert_eq!(loaded, files);
}

#[tokio::test]
async fn a_checkpoint_replaces_the_one_before_and_goes_with_the_end_of_the_job() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let mut files = world.checkpoint().await;
    let mut conn = world.conn().await;
    queue::save_checkpoint(&mut conn, &lease, &files).await.unwrap();
    files[0].blob = world.blob(b"later weights").await;
    files[0].name = "later.bin".into();
    queue::save_checkpoint(&mut conn, &lease, &files).await.unwrap();
    assert_eq!(queue::load_checkpoint(&mut conn, DEFAULT_TENANT, lease.job_id).await.unwrap(), files);
    fail(&world, &lease, FailureCode::Diverged).await;
    assert_eq!(queue::load_checkpoint(&mut conn, DEFAULT_TENANT, lease.job_id).await.unwrap(), []);
}

#[tokio::test]
async fn a_restart_takes_over_from_its_dead_predecessor_and_from_nobody_else() {
    let world = World::new().await;
    let (dead, alive) = (Uuid::now_v7(), Uuid::now_v7());
    world.enqueue().await;
    world.enqueue().await;
    let orphan = world.claim_as(dead).await.unwrap().lease;
    let other = world.claim_as(alive).await.unwrap().lease;
    let rescued = queue::rescue_from(&mut *world.conn().await, &[dead]).await.unwrap();
    assert_eq!(rescued.iter().map(|rescued| rescued.lease).collect::<Vec<_>>(), [orphan]);
    assert_eq!(world.claim().await.lease.job_id, orphan.job_id, "it goes on at once");
    assert_eq!(world.status(other.job_id).await, JobStatus::Running);
}

#[tokio::test]
async fn only_one_rescuer_is_at_work_and_the_others_do_not_wait() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    world.lease_runs_out(&lease).await;
    let mut rescuing = world.database().pool().begin().await.unwrap();
    let rescued = queue::rescue(&mut rescuing, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(rescued.len(), 1);
    assert_eq!(world.rescue().await, []);
    rescuing.commit().await.unwrap();
    assert_eq!(world.job(lease.job_id).await.crash_count, 1);
}

#[tokio::test]
async fn a_message_that_the_database_cannot_hold_does_not_keep_a_job_from_failing() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let mut broken = failure(FailureCode::Internal);
    broken.message = "native code said \0 and died".into();
    queue::fail(&mut *world.conn().await, &lease, &broken).await.unwrap();
    assert_eq!(world.job(lease.job_id).await.error.unwrap().message, "native code said  and died");
}
