use secateur::queue::{self, Publication, PublishOutcome, QueueError};
use secateur::spec::attempt::JobEvent;
use secateur::spec::job::{JobStatus, Stage};
use secateur::store::error::StoreError;
use secateur::store::tenant::DEFAULT_TENANT;
use secateur::store::{job, model};
use serde_json::json;

use crate::support::world::World;

#[tokio::test]
async fn everything_becomes_visible_at_once_with_its_lineage() {
    let world = World::new().await;
    let claim = world.running().await;
    let first = world.finished_step(0, b"small").await;
    queue::finish_step(&mut *world.conn().await, &claim.lease, &first).await.unwrap();
    let model = Some(world.step_model(2, b"smallest").await);
    let publication = Publication { model, earlier: vec![0], ..world.publication().await };

    let mut tx = world.database().pool().begin().await.unwrap();
    let outcome = queue::publish(&mut tx, &claim.lease, &publication).await.unwrap();
    assert_eq!(world.status(claim.lease.job_id).await, JobStatus::Running, "not before the commit");
    assert_eq!(world.count("select count(*) from models where job_id is not null").await, 1);
    tx.commit().await.unwrap();

    let job = world.job(claim.lease.job_id).await;
    assert_eq!(outcome, PublishOutcome::Published(job.output_model_id));
    assert_eq!((job.status, job.progress), (JobStatus::Succeeded, 1.0));
    let mut conn = world.conn().await;
    let made = model::made_by(&mut conn, DEFAULT_TENANT, &[job.id]).await.unwrap();
    let [(_, 0, small), (_, 2, smallest)] = made[..] else { panic!("{made:?}") };
    assert_eq!(job.output_model_id, Some(smallest));
    for (id, parent) in [(small, claim.model_id), (smallest, small)] {
        let lineage = model::get(&mut conn, DEFAULT_TENANT, id).await.unwrap().lineage.unwrap();
        assert_eq!((lineage.job_id, lineage.parent_id), (job.id, parent));
    }
    let (report, plan) = job::results(&mut conn, DEFAULT_TENANT, job.id).await.unwrap();
    assert_eq!((report, plan), (Some(publication.report), publication.plan));
}

// The end of a step that was lost on its way took the step's model with it, and the job succeeded.
#[tokio::test]
async fn a_job_does_not_succeed_without_a_model_that_an_earlier_step_made() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let small = world.finished_step(0, b"small").await;
    queue::finish_step(&mut *world.conn().await, &lease, &small).await.unwrap();
    let model = Some(world.step_model(2, b"smallest").await);
    let publication = Publication { model, earlier: vec![0, 1], ..world.publication().await };
    let mut conn = world.conn().await;
    let error = queue::publish(&mut conn, &lease, &publication).await.unwrap_err();
    assert!(matches!(error, QueueError::StepMissing { step: 1, .. }), "{error}");
    assert_eq!(world.status(lease.job_id).await, JobStatus::Running);
    let made = model::made_by(&mut conn, DEFAULT_TENANT, &[lease.job_id]).await.unwrap();
    assert_eq!(made.len(), 1, "the last step's model is not there either");

    let smaller = world.finished_step(1, b"smaller").await;
    queue::finish_step(&mut conn, &lease, &smaller).await.unwrap();
    queue::publish(&mut conn, &lease, &publication).await.unwrap();
    assert_eq!(world.status(lease.job_id).await, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_publish_whose_blob_was_collected_publishes_nothing_and_can_be_repeated() {
    let world = World::new().await;
    let claim = world.running().await;
    let publication = world.publication().await;
    let mut conn = world.conn().await;
    sqlx::query("delete from blobs where sha256 = $1")
        .bind(&publication.model.as_ref().unwrap().blob.sha256)
        .execute(&mut *conn)
        .await
        .unwrap();
    let error = queue::publish(&mut conn, &claim.lease, &publication).await.unwrap_err();
    assert!(matches!(error, QueueError::Store(StoreError::BlobMissing { .. })), "{error}");
    assert_eq!(world.status(claim.lease.job_id).await, JobStatus::Running);
    let publication = world.publication().await;
    queue::publish(&mut conn, &claim.lease, &publication).await.unwrap();
    assert_eq!(world.status(claim.lease.job_id).await, JobStatus::Succeeded);
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_end_with_the_job() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let publication = world.publication().await;
    let mut conn = world.conn().await;
    queue::set_stage(&mut conn, &lease, Stage::Pruning, 0).await.unwrap();
    queue::set_progress(&mut conn, &lease, 0.25).await.unwrap();
    let event = JobEvent { kind: "epoch".into(), message: "Epoch 1".into(), data: json!({ "loss": 0.5 }) };
    queue::append_event(&mut conn, &lease, &event).await.unwrap();
    let job = world.job(lease.job_id).await;
    assert_eq!((job.stage, job.step, job.progress), (Some(Stage::Pruning), 0, 0.25));

    // A write that was rolled back leaves no gap.
    let mut tx = world.database().pool().begin().await.unwrap();
    queue::append_event(&mut tx, &lease, &event).await.unwrap();
    tx.rollback().await.unwrap();
    queue::publish(&mut conn, &lease, &publication).await.unwrap();

    let events = world.events(lease.job_id).await;
    let kinds: Vec<(i64, &str)> = events.iter().map(|event| (event.seq, event.event.kind.as_str())).collect();
    assert_eq!(kinds, [(1, "queued"), (2, "started"), (3, "stage"), (4, "epoch"), (5, "succeeded")]);
    assert_eq!(events[3].event, event);
    assert_eq!(world.job(lease.job_id).await.last_event_seq, 5);
}

#[tokio::test]
async fn a_progress_that_is_no_share_is_taken_as_the_nearest() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    for (told, stored) in [(f64::NAN, 0.0), (-1.0, 0.0), (7.0, 1.0)] {
        queue::set_progress(&mut *world.conn().await, &lease, told).await.unwrap();
        assert_eq!(world.job(lease.job_id).await.progress, stored);
    }
}
