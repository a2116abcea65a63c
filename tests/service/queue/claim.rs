use std::collections::HashSet;

use secateur::queue::{self, QueueError};
use secateur::spec::job::JobStatus;
use secateur::store::error::Resource;
use serde_json::json;
use uuid::Uuid;

use crate::support::world::{LEASE, World, new_job};

#[tokio::test]
async fn two_claimers_never_get_the_same_job() {
    const JOBS: usize = 60;
    let world = World::new().await;
    let model_id = world.model().await.id;
    for _ in 0..JOBS {
        world.enqueue_new(&new_job(&json!({ "kind": "evaluate", "model_id": model_id }))).await.unwrap();
    }
    let claimers: Vec<_> = (0..6)
        .map(|_| {
            let database = world.database().clone();
            tokio::spawn(async move {
                let mut conn = database.connection().await.unwrap();
                let worker_id = Uuid::now_v7();
                let mut got = Vec::new();
                while let Some(claim) = queue::claim(&mut conn, worker_id, LEASE).await.unwrap() {
                    got.push(claim.lease.job_id);
                }
                got
            })
        })
        .collect();
    let mut got = Vec::new();
    for claimer in claimers {
        got.extend(claimer.await.unwrap());
    }
    // A claimer may leave while another still holds a row's lock, never while a job is free to all.
    assert_eq!(got.len(), JOBS);
    assert_eq!(got.iter().collect::<HashSet<_>>().len(), JOBS);
}

#[tokio::test]
async fn a_claim_steps_over_a_job_that_another_is_just_taking() {
    let world = World::new().await;
    let first = world.enqueue().await;
    let second = world.enqueue().await;
    let mut held = world.database().pool().begin().await.unwrap();
    let claim = queue::claim(&mut held, Uuid::now_v7(), LEASE).await.unwrap().unwrap();
    assert_eq!(claim.lease.job_id, first.id);
    assert_eq!(world.claim().await.lease.job_id, second.id);
    held.rollback().await.unwrap();
    assert_eq!(world.claim().await.lease.job_id, first.id, "a claim that was rolled back leaves the job");
}

#[tokio::test]
async fn higher_priority_comes_first_then_the_one_that_waits_longest() {
    let world = World::new().await;
    let early = world.enqueue().await.id;
    let late = world.enqueue().await.id;
    let model_id = world.model().await.id;
    let mut urgent = new_job(&json!({ "kind": "evaluate", "model_id": model_id }));
    urgent.priority = 1;
    world.enqueue_new(&urgent).await.unwrap();
    let order = [world.claim().await, world.claim().await, world.claim().await].map(|claim| claim.lease.job_id);
    assert_eq!(order, [urgent.id, early, late]);
    assert!(world.claim_as(Uuid::now_v7()).await.is_none());
}

#[tokio::test]
async fn a_claim_charges_the_attempt_and_carries_what_is_to_be_done() {
    let world = World::new().await;
    let model_id = world.model().await.id;
    let request = json!({ "kind": "prune", "model_id": model_id, "name": "small" });
    let new = new_job(&request);
    world.enqueue_new(&new).await.unwrap();
    let claim = world.claim().await;
    assert_eq!(claim.spec().unwrap(), new.spec);
    assert_eq!((claim.model_id, claim.name.as_deref(), claim.attempt), (model_id, Some("small"), 1));
    assert_eq!(claim.time_left, new.deadline);
    let job = world.job(new.id).await;
    assert_eq!((job.status, job.attempt), (JobStatus::Running, 1));
    assert!(job.started_at.is_some());
    assert_eq!(world.event_kinds(new.id).await, ["queued", "started"]);
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_is_a_failure_with_a_reason_and_not_a_dead_worker() {
    let world = World::new().await;
    let model_id = world.model().await.id;
    sqlx::query(
        "insert into jobs (tenant_id, id, kind, model_id, request, spec, deadline_ms)
         select id, gen_random_uuid(), 'prune', $1, '{}', '{\"kind\": \"of another version\"}', 1000 from tenants",
    )
    .bind(model_id)
    .execute(&mut *world.conn().await)
    .await
    .unwrap();
    let claim = world.claim().await;
    let failure = claim.spec().unwrap_err();
    queue::fail(&mut *world.conn().await, &claim.lease, &failure).await.unwrap();
    assert_eq!(world.job(claim.lease.job_id).await.error, Some(failure));
}

#[tokio::test]
async fn a_job_on_a_model_or_dataset_that_is_not_there_is_refused() {
    let world = World::new().await;
    let nowhere = Uuid::now_v7();
    let error = world.enqueue_new(&new_job(&json!({ "kind": "prune", "model_id": nowhere }))).await.unwrap_err();
    assert!(matches!(error, QueueError::InputMissing { what: Resource::Model, id } if id == nowhere), "{error}");

    let model_id = world.model().await.id;
    let steps = json!([{ "kind": "prune" }, { "kind": "evaluate", "dataset_id": nowhere }]);
    let pipeline = json!({ "kind": "pipeline", "model_id": model_id, "spec": { "steps": steps } });
    let error = world.enqueue_new(&new_job(&pipeline)).await.unwrap_err();
    assert!(matches!(error, QueueError::InputMissing { what: Resource::Dataset, id } if id == nowhere), "{error}");

    let evaluate = json!({ "kind": "evaluate", "model_id": model_id, "spec": { "baseline_model_id": nowhere } });
    let error = world.enqueue_new(&new_job(&evaluate)).await.unwrap_err();
    assert!(matches!(error, QueueError::InputMissing { what: Resource::Model, id } if id == nowhere), "{error}");
    assert_eq!(world.count("select count(*) from jobs").await, 0);
}
