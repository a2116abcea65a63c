//! What an attempt may still write after its job was taken away: nothing.

use secateur::queue::{self, Lease, QueueError, Renewal};
use secateur::spec::attempt::JobEvent;
use secateur::spec::failure::FailureCode;
use secateur::spec::job::{JobStatus, Stage};
use serde_json::json;

use crate::support::world::{LEASE, World, failure};

/// Tries every write there is with the lease.
async fn assert_every_write_is_refused(world: &World, lease: &Lease) {
    let before = world.job(lease.job_id).await;
    let events = world.events(lease.job_id).await;
    let publication = world.publication().await;
    let files = world.checkpoint().await;
    let finished = world.finished_step(0, b"late").await;
    let event = JobEvent { kind: "epoch".into(), message: "late".into(), data: json!(null) };
    let mut conn = world.conn().await;
    let conn = &mut *conn;

    let refused = [
        queue::set_progress(conn, lease, 0.5).await.unwrap_err(),
        queue::set_stage(conn, lease, Stage::Pruning, 0).await.unwrap_err(),
        queue::append_event(conn, lease, &event).await.unwrap_err(),
        queue::save_checkpoint(conn, lease, &files).await.unwrap_err(),
        queue::finish_step(conn, lease, &finished).await.unwrap_err(),
        queue::publish(conn, lease, &publication).await.unwrap_err(),
        queue::fail(conn, lease, &failure(FailureCode::Internal)).await.unwrap_err(),
        queue::release(conn, lease).await.unwrap_err(),
        queue::finish_cancelled(conn, lease).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, QueueError::LeaseLost { job_id, .. } if job_id == lease.job_id), "{error}");
    }
    assert_eq!(queue::renew(conn, lease, LEASE).await.unwrap(), Renewal::Lost);

    assert_eq!(world.job(lease.job_id).await, before);
    assert_eq!(world.events(lease.job_id).await, events);
    let made = "select count(*) from models where job_id is not null";
    let published = i64::from(before.status == JobStatus::Succeeded);
    assert_eq!(world.count(made).await, published);
}

#[tokio::test]
async fn after_a_rescue_every_write_of_the_old_token_is_refused() {
    let world = World::new().await;
    let stale = world.running().await.lease;
    world.lease_runs_out(&stale).await;
    assert_eq!(world.rescue().await.len(), 1);
    assert_every_write_is_refused(&world, &stale).await;

    // The same with the job in other hands.
    let fresh = world.claim().await.lease;
    assert_eq!((fresh.job_id, fresh.token), (stale.job_id, stale.token + 1));
    assert_every_write_is_refused(&world, &stale).await;
    assert!(matches!(queue::renew(&mut *world.conn().await, &fresh, LEASE).await.unwrap(), Renewal::Held { .. }));
}

#[tokio::test]
async fn nothing_is_written_after_a_job_has_ended() {
    let world = World::new().await;
    let publication = world.publication().await;
    let succeeded = world.running().await.lease;
    queue::publish(&mut *world.conn().await, &succeeded, &publication).await.unwrap();
    assert_every_write_is_refused(&world, &succeeded).await;

    let world = World::new().await;
    let failed = world.running().await.lease;
    queue::fail(&mut *world.conn().await, &failed, &failure(FailureCode::Internal)).await.unwrap();
    assert_every_write_is_refused(&world, &failed).await;
}

#[tokio::test]
async fn a_late_heartbeat_before_the_rescue_keeps_the_job() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    world.lease_runs_out(&lease).await;
    let renewal = queue::renew(&mut *world.conn().await, &lease, LEASE).await.unwrap();
    assert!(matches!(renewal, Renewal::Held { cancel_requested: false, .. }), "{renewal:?}");
    assert_eq!(world.rescue().await, []);
}

#[tokio::test]
async fn the_schema_itself_refuses_what_is_not_in_the_table_of_transitions() {
    let world = World::new().await;
    // Each is tried on a fresh job in the state it begins with; the first word names it.
    let forbidden = [
        ("queued", "update jobs set status = 'cancelling', cancel_requested_at = now()"),
        ("queued", "update jobs set status = 'failed', error = '{}', finished_at = now()"),
        ("queued", "update jobs set lease_token = lease_token + 1"),
        ("queued", "update jobs set status = 'running'"),
        ("running", "update jobs set lease_token = lease_token + 1"),
        ("running", "update jobs set lease_token = lease_token - 1"),
        ("running", "update jobs set lease_expires_at = null"),
        ("running", "update jobs set spec = '{}'"),
        ("running", "update jobs set status = 'queued'"),
        (
            "running",
            "update jobs set status = 'succeeded', finished_at = now(), worker_id = null, attempt_started_at = null,
                 lease_renewed_at = null, lease_expires_at = null",
        ),
        (
            "cancelling",
            "update jobs set status = 'queued', cancel_requested_at = null, worker_id = null, attempt_started_at = null,
                 lease_renewed_at = null, lease_expires_at = null",
        ),
        (
            "cancelling",
            "update jobs set status = 'failed', error = '{}', cancel_requested_at = null, finished_at = now(),
                 worker_id = null, attempt_started_at = null, lease_renewed_at = null, lease_expires_at = null",
        ),
        ("cancelled", "update jobs set progress = 0.5"),
        ("cancelled", "update jobs set status = 'queued', cancel_requested_at = null, finished_at = null"),
    ];
    for (state, statement) in forbidden {
        let id = world.enqueue().await.id;
        let mut conn = world.conn().await;
        if state == "running" || state == "cancelling" {
            assert_eq!(world.claim().await.lease.job_id, id);
        }
        if state.starts_with("cancel") {
            queue::cancel(&mut conn, secateur::store::tenant::DEFAULT_TENANT, id).await.unwrap();
        }
        assert_eq!(world.status(id).await.as_str(), state);
        let error = sqlx::query(sqlx::AssertSqlSafe(format!("{statement} where id = $1")))
            .bind(id)
            .execute(&mut *conn)
            .await
            .expect_err(statement);
        assert!(
            error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_check_violation),
            "{statement}: {error}"
        );
        sqlx::query("delete from jobs").execute(&mut *conn).await.unwrap();
    }
}
