use secateur::queue::{self, QueueError};
use secateur::spec::failure::FailureCode;
use secateur::store::error::{Resource, StoreError};
use secateur::store::tenant::{DEFAULT_TENANT, TenantId};
use secateur::store::{dataset, model};
use serde_json::json;
use uuid::Uuid;

use crate::support::world::{World, failure, new_job, until_waiting_for_locks};

#[tokio::test]
async fn what_an_unfinished_job_uses_cannot_be_deleted_and_can_be_afterwards() {
    let world = World::new().await;
    let (model_id, baseline, test_set) = (world.model().await.id, world.model().await.id, world.dataset().await);
    let steps = json!([
        { "kind": "prune" },
        { "kind": "evaluate", "dataset_id": test_set, "spec": { "baseline_model_id": baseline } },
    ]);
    let new = new_job(&json!({ "kind": "pipeline", "model_id": model_id, "spec": { "steps": steps } }));
    world.enqueue_new(&new).await.unwrap();
    let mut conn = world.conn().await;
    for state in ["queued", "running"] {
        for id in [model_id, baseline] {
            let error = model::delete(&mut conn, DEFAULT_TENANT, id).await.unwrap_err();
            assert!(matches!(error, StoreError::InUse { what: Resource::Model, .. }), "{state}: {error}");
        }
        let error = dataset::delete(&mut conn, DEFAULT_TENANT, test_set).await.unwrap_err();
        assert!(matches!(error, StoreError::InUse { what: Resource::Dataset, .. }), "{state}: {error}");
        if state == "queued" {
            world.claim().await;
        }
    }
    let lease = queue::Lease { tenant: DEFAULT_TENANT, job_id: new.id, token: 1 };
    queue::fail(&mut conn, &lease, &failure(FailureCode::Internal)).await.unwrap();
    model::delete(&mut conn, DEFAULT_TENANT, model_id).await.unwrap();
    model::delete(&mut conn, DEFAULT_TENANT, baseline).await.unwrap();
    dataset::delete(&mut conn, DEFAULT_TENANT, test_set).await.unwrap();
    assert_eq!(world.job(new.id).await.model_id, model_id, "the job still says what it worked on");
}

#[tokio::test]
async fn an_enqueue_that_meets_a_delete_is_refused() {
    let world = World::new().await;
    let model_id = world.model().await.id;
    let mut deleting = world.database().pool().begin().await.unwrap();
    model::delete(&mut deleting, DEFAULT_TENANT, model_id).await.unwrap();
    let database = world.database().clone();
    let enqueue = tokio::spawn(async move {
        let new = new_job(&json!({ "kind": "evaluate", "model_id": model_id }));
        queue::enqueue(&mut database.pool().acquire().await.unwrap(), DEFAULT_TENANT, &new).await
    });
    until_waiting_for_locks(&mut *world.conn().await, 1).await;
    deleting.commit().await.unwrap();
    let error = enqueue.await.unwrap().unwrap_err();
    assert!(matches!(error, QueueError::InputMissing { what: Resource::Model, id } if id == model_id), "{error}");
}

#[tokio::test]
async fn a_delete_that_meets_an_enqueue_is_refused() {
    let world = World::new().await;
    let model_id = world.model().await.id;
    let mut queueing = world.database().pool().begin().await.unwrap();
    let new = new_job(&json!({ "kind": "evaluate", "model_id": model_id }));
    queue::enqueue(&mut queueing, DEFAULT_TENANT, &new).await.unwrap();
    let database = world.database().clone();
    let delete = tokio::spawn(async move {
        model::delete(&mut database.pool().acquire().await.unwrap(), DEFAULT_TENANT, model_id).await
    });
    until_waiting_for_locks(&mut *world.conn().await, 1).await;
    queueing.commit().await.unwrap();
    assert!(matches!(delete.await.unwrap().unwrap_err(), StoreError::InUse { .. }));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_anothers_are_the_same() {
    let world = World::new().await;
    let (model, dataset_id) = (world.model().await, world.dataset().await);
    let other = TenantId(Uuid::now_v7());
    let mut conn = world.conn().await;
    for error in [
        model::get(&mut conn, other, model.id).await.map(drop).unwrap_err(),
        model::delete(&mut conn, other, model.id).await.unwrap_err(),
        dataset::get(&mut conn, other, dataset_id).await.map(drop).unwrap_err(),
        dataset::delete(&mut conn, other, dataset_id).await.unwrap_err(),
        model::get(&mut conn, DEFAULT_TENANT, Uuid::now_v7()).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    }
    assert_eq!(model::get(&mut conn, DEFAULT_TENANT, model.id).await.unwrap(), model);
    assert_eq!(dataset::get(&mut conn, DEFAULT_TENANT, dataset_id).await.unwrap().id, dataset_id);
}
