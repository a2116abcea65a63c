use secateur::store::error::StoreError;
use secateur::store::idempotency::{Begin, KeyHold, StoredResponse, abandon, abandon_all, begin, complete};
use secateur::store::retention;
use secateur::store::tenant::{DEFAULT_TENANT, TenantId};
use serde_json::json;
use uuid::Uuid;

use crate::support::world::World;

async fn start(world: &World, fingerprint: &str) -> Begin {
    begin(&mut *world.conn().await, DEFAULT_TENANT, "key-1", fingerprint).await.unwrap()
}

async fn started(world: &World) -> KeyHold {
    match start(world, "POST /v1/jobs abc").await {
        Begin::Started(hold) => hold,
        other => panic!("{other:?}"),
    }
}

fn response() -> StoredResponse {
    StoredResponse { status_code: 202, body: json!({ "id": 1 }) }
}

async fn make_stale(world: &World, statement: &'static str) {
    sqlx::query(statement).execute(&mut *world.conn().await).await.unwrap();
}

#[tokio::test]
async fn a_repetition_gets_the_response_of_the_first() {
    let world = World::new().await;
    let hold = started(&world).await;
    assert_eq!(start(&world, "POST /v1/jobs abc").await, Begin::InFlight);
    complete(&mut *world.conn().await, DEFAULT_TENANT, &hold, &response()).await.unwrap();
    assert_eq!(start(&world, "POST /v1/jobs abc").await, Begin::Replay(response()));
}

#[tokio::test]
async fn other_content_under_the_same_key_is_refused_before_and_after_the_response() {
    let world = World::new().await;
    let hold = started(&world).await;
    assert_eq!(start(&world, "POST /v1/jobs other").await, Begin::OtherFingerprint);
    complete(&mut *world.conn().await, DEFAULT_TENANT, &hold, &response()).await.unwrap();
    assert_eq!(start(&world, "POST /v1/jobs other").await, Begin::OtherFingerprint);
}

#[tokio::test]
async fn a_response_that_was_rolled_back_is_none() {
    let world = World::new().await;
    let hold = started(&world).await;
    let mut tx = world.database().pool().begin().await.unwrap();
    complete(&mut tx, DEFAULT_TENANT, &hold, &response()).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(start(&world, "POST /v1/jobs abc").await, Begin::InFlight);
    abandon(&mut *world.conn().await, DEFAULT_TENANT, &hold).await.unwrap();
    started(&world).await;
}

#[tokio::test]
async fn after_a_crash_the_key_is_free_again_and_the_dead_request_cannot_finish() {
    let world = World::new().await;
    let dead = started(&world).await;
    make_stale(&world, "update idempotency_keys set in_flight_until = now()").await;
    let alive = started(&world).await;
    let error = complete(&mut *world.conn().await, DEFAULT_TENANT, &dead, &response()).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyTakenOver), "{error}");
    abandon(&mut *world.conn().await, DEFAULT_TENANT, &dead).await.unwrap();
    assert_eq!(start(&world, "POST /v1/jobs abc").await, Begin::InFlight, "the dead one abandons nothing of others");
    complete(&mut *world.conn().await, DEFAULT_TENANT, &alive, &response()).await.unwrap();
}

#[tokio::test]
async fn a_key_is_free_for_anything_once_its_time_is_over() {
    let world = World::new().await;
    let hold = started(&world).await;
    complete(&mut *world.conn().await, DEFAULT_TENANT, &hold, &response()).await.unwrap();
    assert_eq!(retention::delete_expired_keys(&mut *world.conn().await).await.unwrap(), 0);
    make_stale(&world, "update idempotency_keys set expires_at = now()").await;
    assert!(matches!(start(&world, "POST /v1/jobs other").await, Begin::Started(_)));
    make_stale(&world, "update idempotency_keys set expires_at = now()").await;
    assert_eq!(retention::delete_expired_keys(&mut *world.conn().await).await.unwrap(), 1);
}

#[tokio::test]
async fn of_many_at_once_one_is_carried_out() {
    let world = World::new().await;
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let database = world.database().clone();
            tokio::spawn(async move {
                begin(&mut database.pool().acquire().await.unwrap(), DEFAULT_TENANT, "key-1", "same").await.unwrap()
            })
        })
        .collect();
    let mut started = 0;
    for try_ in tries {
        match try_.await.unwrap() {
            Begin::Started(_) => started += 1,
            Begin::InFlight => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(started, 1);
}

#[tokio::test]
async fn another_tenants_key_is_another_key() {
    let world = World::new().await;
    let other = TenantId(Uuid::now_v7());
    sqlx::query("insert into tenants (id, name) values ($1, 'other')")
        .bind(other.0)
        .execute(&mut *world.conn().await)
        .await
        .unwrap();
    started(&world).await;
    let theirs = begin(&mut *world.conn().await, other, "key-1", "POST /v1/jobs abc").await.unwrap();
    assert!(matches!(theirs, Begin::Started(_)), "{theirs:?}");
}

#[tokio::test]
async fn a_start_after_a_crash_frees_the_keys_without_a_response_and_no_others() {
    let world = World::new().await;
    let dead = started(&world).await;
    let answered = begin(&mut *world.conn().await, DEFAULT_TENANT, "key-2", "POST /v1/jobs abc").await.unwrap();
    let Begin::Started(answered) = answered else { panic!("{answered:?}") };
    complete(&mut *world.conn().await, DEFAULT_TENANT, &answered, &response()).await.unwrap();
    assert_eq!(abandon_all(&mut *world.conn().await).await.unwrap(), 1);
    started(&world).await;
    let late = complete(&mut *world.conn().await, DEFAULT_TENANT, &dead, &response()).await.unwrap_err();
    assert!(matches!(late, StoreError::KeyTakenOver), "{late}");
    let again = begin(&mut *world.conn().await, DEFAULT_TENANT, "key-2", "POST /v1/jobs abc").await.unwrap();
    assert_eq!(again, Begin::Replay(response()));
}
