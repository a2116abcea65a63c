use std::time::Duration;

use secateur::queue::{self, PublishOutcome};
use secateur::store::tenant::DEFAULT_TENANT;
use secateur::store::{model, retention};

use crate::support::world::World;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn only_jobs_that_ended_long_ago_go_and_their_models_stay() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let publication = world.publication().await;
    let outcome = queue::publish(&mut *world.conn().await, &lease, &publication).await.unwrap();
    let PublishOutcome::Published(Some(model_id)) = outcome else { panic!("{outcome:?}") };
    let queued = world.enqueue().await.id;

    let mut conn = world.conn().await;
    assert_eq!(retention::delete_finished_jobs(&mut conn, DAY, 10).await.unwrap(), 0, "it ended just now");
    // A finished job does not change, so its past is written with the trigger off.
    sqlx::query("alter table jobs disable trigger jobs_transition").execute(&mut *conn).await.unwrap();
    sqlx::query(
        "update jobs set finished_at = finished_at - interval '2 days', created_at = now() - interval '9 days'
                 where id = $1 or id = $2 and finished_at is null",
    )
    .bind(lease.job_id)
    .bind(queued)
    .execute(&mut *conn)
    .await
    .unwrap();
    assert_eq!(retention::delete_finished_jobs(&mut conn, DAY, 10).await.unwrap(), 1);
    assert_eq!(world.count("select count(*) from jobs").await, 1);
    assert_eq!(world.job(queued).await.id, queued);
    assert_eq!(world.events(lease.job_id).await, []);
    let made = model::get(&mut conn, DEFAULT_TENANT, model_id).await.unwrap();
    assert_eq!(made.lineage.unwrap().job_id, lease.job_id, "lineage outlives the job");
}
