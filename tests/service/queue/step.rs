//! The end of a step: published once, and kept whatever becomes of the job.

use secateur::queue::{self, FinishedStep, Lease, StepOutcome};
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobStatus;
use secateur::store::error::StoreError;
use secateur::store::model;
use secateur::store::tenant::DEFAULT_TENANT;
use uuid::Uuid;

use crate::support::world::{World, failure};

async fn finish(world: &World, lease: &Lease, finished: &FinishedStep) -> StepOutcome {
    queue::finish_step(&mut *world.conn().await, lease, finished).await.unwrap()
}

/// Step and model of all that a job has published.
async fn made_by(world: &World, job_id: Uuid) -> Vec<(u32, Uuid)> {
    let made = model::made_by(&mut *world.conn().await, DEFAULT_TENANT, &[job_id]).await.unwrap();
    made.into_iter().map(|(_, step, id)| (step, id)).collect()
}

#[tokio::test]
async fn a_finished_step_stays_when_the_job_fails() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let finished = world.finished_step(0, b"small").await;
    assert_eq!(finish(&world, &lease, &finished).await, StepOutcome::Kept);

    let kept = queue::load_checkpoint(&mut *world.conn().await, DEFAULT_TENANT, lease.job_id).await.unwrap();
    assert_eq!(kept.len(), finished.checkpoint.len());
    let made = made_by(&world, lease.job_id).await;
    let [(0, id)] = made[..] else { panic!("{made:?}") };
    let event = world.events(lease.job_id).await.pop().unwrap().event;
    assert_eq!((event.kind.as_str(), &event.data["model_id"]), ("step_finished", &serde_json::json!(id)));

    queue::fail(&mut *world.conn().await, &lease, &failure(FailureCode::Diverged)).await.unwrap();
    let job = world.job(lease.job_id).await;
    assert_eq!((job.status, job.output_model_id), (JobStatus::Failed, None));
    assert_eq!(made_by(&world, lease.job_id).await, made);
}

#[tokio::test]
async fn a_step_ends_once_though_the_end_is_told_again() {
    let world = World::new().await;
    let lost = world.running().await.lease;
    let finished = world.finished_step(0, b"small").await;
    assert_eq!(finish(&world, &lost, &finished).await, StepOutcome::Kept);
    let (made, events) = (made_by(&world, lost.job_id).await, world.events(lost.job_id).await);
    assert_eq!(finish(&world, &lost, &finished).await, StepOutcome::KeptBefore);
    assert_eq!(world.events(lost.job_id).await, events);

    // A later attempt that did the step again, with another result.
    world.lease_runs_out(&lost).await;
    world.rescue().await;
    let fresh = world.claim().await.lease;
    let again = world.finished_step(0, b"another").await;
    assert_eq!(finish(&world, &fresh, &again).await, StepOutcome::KeptBefore);
    assert_eq!(made_by(&world, lost.job_id).await, made);
}

#[tokio::test]
async fn a_cancel_before_the_end_of_a_step_leaves_nothing_of_it_and_one_after_it_all() {
    let world = World::new().await;
    for (cancelled_first, models) in [(true, 0), (false, 1)] {
        let lease = world.running().await.lease;
        let finished = world.finished_step(0, b"small").await;
        let mut conn = world.conn().await;
        if cancelled_first {
            queue::cancel(&mut conn, DEFAULT_TENANT, lease.job_id).await.unwrap();
            assert_eq!(finish(&world, &lease, &finished).await, StepOutcome::Cancelled);
        } else {
            assert_eq!(finish(&world, &lease, &finished).await, StepOutcome::Kept);
            queue::cancel(&mut conn, DEFAULT_TENANT, lease.job_id).await.unwrap();
        }
        let publication = world.publication().await;
        queue::publish(&mut conn, &lease, &publication).await.unwrap();
        assert_eq!(world.status(lease.job_id).await, JobStatus::Cancelled);
        assert_eq!(made_by(&world, lease.job_id).await.len(), models);
    }
}

#[tokio::test]
async fn a_steps_model_cannot_be_deleted_before_its_job_has_ended() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    finish(&world, &lease, &world.finished_step(0, b"small").await).await;
    let (_, id) = made_by(&world, lease.job_id).await[0];
    let mut conn = world.conn().await;
    let error = model::delete(&mut conn, DEFAULT_TENANT, id).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    queue::fail(&mut conn, &lease, &failure(FailureCode::Internal)).await.unwrap();
    model::delete(&mut conn, DEFAULT_TENANT, id).await.unwrap();
}

#[tokio::test]
async fn a_job_whose_last_step_makes_no_model_puts_out_the_one_before() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    finish(&world, &lease, &world.finished_step(0, b"small").await).await;
    let publication = queue::Publication { model: None, ..world.publication().await };
    queue::publish(&mut *world.conn().await, &lease, &publication).await.unwrap();
    let made = made_by(&world, lease.job_id).await;
    assert_eq!(world.job(lease.job_id).await.output_model_id, Some(made[0].1));
}
