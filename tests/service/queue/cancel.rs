use secateur::queue::{self, CancelOutcome, Next, PublishOutcome, QueueError, Renewal};
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobStatus;
use secateur::store::error::StoreError;
use secateur::store::tenant::{DEFAULT_TENANT, TenantId};
use uuid::Uuid;

use crate::support::world::{LEASE, World, failure, until_waiting_for_locks};

async fn cancel(world: &World, id: Uuid) -> CancelOutcome {
    queue::cancel(&mut *world.conn().await, DEFAULT_TENANT, id).await.unwrap()
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once() {
    let world = World::new().await;
    let id = world.enqueue().await.id;
    assert_eq!(cancel(&world, id).await, CancelOutcome::Cancelled);
    let job = world.job(id).await;
    assert_eq!(job.status, JobStatus::Cancelled);
    assert!(job.finished_at.is_some() && job.error.is_none());
    assert!(world.claim_as(Uuid::now_v7()).await.is_none());
    assert_eq!(world.event_kinds(id).await, ["queued", "cancelled"]);
    assert_eq!(cancel(&world, id).await, CancelOutcome::AlreadyFinished);
}

#[tokio::test]
async fn a_running_job_learns_of_it_with_its_heartbeat_and_ends_cancelled() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    assert_eq!(cancel(&world, lease.job_id).await, CancelOutcome::Cancelling);
    assert_eq!(cancel(&world, lease.job_id).await, CancelOutcome::Cancelling, "asking again changes nothing");
    let renewal = queue::renew(&mut *world.conn().await, &lease, LEASE).await.unwrap();
    assert!(matches!(renewal, Renewal::Held { cancel_requested: true, .. }), "{renewal:?}");
    queue::finish_cancelled(&mut *world.conn().await, &lease).await.unwrap();
    assert_eq!(world.status(lease.job_id).await, JobStatus::Cancelled);
    assert_eq!(world.event_kinds(lease.job_id).await, ["queued", "started", "cancelling", "cancelled"]);
}

#[tokio::test]
async fn whatever_ends_a_cancelling_attempt_the_job_is_cancelled() {
    let world = World::new().await;
    for ending in ["failed", "retryable", "released", "lost", "published"] {
        let lease = world.running().await.lease;
        cancel(&world, lease.job_id).await;
        let publication = world.publication().await;
        let mut conn = world.conn().await;
        match ending {
            "failed" => {
                queue::fail(&mut conn, &lease, &failure(FailureCode::Internal)).await.unwrap();
            }
            "retryable" => {
                queue::fail(&mut conn, &lease, &failure(FailureCode::OutOfMemory)).await.unwrap();
            }
            "released" => {
                queue::release(&mut conn, &lease).await.unwrap();
            }
            "lost" => {
                world.lease_runs_out(&lease).await;
                assert!(matches!(world.rescue().await.as_slice(), [rescued] if rescued.next == Next::Cancelled));
            }
            _ => {
                let outcome = queue::publish(&mut conn, &lease, &publication).await.unwrap();
                assert_eq!(outcome, PublishOutcome::Cancelled);
            }
        }
        let job = world.job(lease.job_id).await;
        assert_eq!((job.status, job.report_blob, job.output_model_id), (JobStatus::Cancelled, None, None), "{ending}");
    }
    assert_eq!(world.count("select count(*) from models where job_id is not null").await, 0);
}

#[tokio::test]
async fn a_cancel_that_meets_a_publish_waits_and_comes_too_late() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let publication = world.publication().await;
    let mut publishing = world.database().pool().begin().await.unwrap();
    queue::publish(&mut publishing, &lease, &publication).await.unwrap();
    let database = world.database().clone();
    let cancelling = tokio::spawn(async move {
        queue::cancel(&mut database.pool().acquire().await.unwrap(), DEFAULT_TENANT, lease.job_id).await.unwrap()
    });
    until_waiting_for_locks(&mut *world.conn().await, 1).await;
    publishing.commit().await.unwrap();
    assert_eq!(cancelling.await.unwrap(), CancelOutcome::AlreadyFinished);
    assert_eq!(world.status(lease.job_id).await, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_publish_that_meets_a_cancel_publishes_nothing() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let publication = world.publication().await;
    let mut cancelling = world.database().pool().begin().await.unwrap();
    queue::cancel(&mut cancelling, DEFAULT_TENANT, lease.job_id).await.unwrap();
    let database = world.database().clone();
    let publishing = tokio::spawn(async move {
        queue::publish(&mut database.pool().acquire().await.unwrap(), &lease, &publication).await.unwrap()
    });
    until_waiting_for_locks(&mut *world.conn().await, 1).await;
    cancelling.commit().await.unwrap();
    assert_eq!(publishing.await.unwrap(), PublishOutcome::Cancelled);
    assert_eq!(world.status(lease.job_id).await, JobStatus::Cancelled);
    assert_eq!(world.count("select count(*) from models where job_id is not null").await, 0);
}

#[tokio::test]
async fn a_job_that_waits_for_its_retry_can_be_cancelled() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    queue::fail(&mut *world.conn().await, &lease, &failure(FailureCode::RuntimeCrash)).await.unwrap();
    assert_eq!(cancel(&world, lease.job_id).await, CancelOutcome::Cancelled);
    assert_eq!(world.job(lease.job_id).await.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_job_of_another_tenant_is_not_there() {
    let world = World::new().await;
    let id = world.enqueue().await.id;
    let other = TenantId(Uuid::now_v7());
    let error = queue::cancel(&mut *world.conn().await, other, id).await.unwrap_err();
    assert!(matches!(error, QueueError::Store(StoreError::NotFound { .. })), "{error}");
    assert_eq!(world.status(id).await, JobStatus::Queued);
}
