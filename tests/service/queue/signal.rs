use secateur::queue::{self, Signal, Signals};
use secateur::spec::failure::FailureCode;
use secateur::store::tenant::DEFAULT_TENANT;

use crate::support::world::{LEASE, World, failure};

#[tokio::test]
async fn a_worker_is_woken_by_work_and_by_cancels() {
    let world = World::new().await;
    let mut signals = Signals::for_worker(world.database()).await.unwrap();
    let lease = world.running().await.lease;
    assert_eq!(signals.next().await.unwrap(), Signal::Work, "a new job");
    queue::cancel(&mut *world.conn().await, DEFAULT_TENANT, lease.job_id).await.unwrap();
    assert_eq!(signals.next().await.unwrap(), Signal::Cancel(lease.job_id));
    queue::finish_cancelled(&mut *world.conn().await, &lease).await.unwrap();

    let lease = world.running().await.lease;
    assert_eq!(signals.next().await.unwrap(), Signal::Work, "another new job");
    queue::fail(&mut *world.conn().await, &lease, &failure(FailureCode::OutOfMemory)).await.unwrap();
    assert_eq!(signals.next().await.unwrap(), Signal::Work, "a job that waits again");
}

#[tokio::test]
async fn the_api_is_woken_by_what_clients_can_see_and_not_by_heartbeats() {
    let world = World::new().await;
    let mut signals = Signals::for_api(world.database()).await.unwrap();
    let lease = world.running().await.lease;
    let mut conn = world.conn().await;
    queue::renew(&mut conn, &lease, LEASE).await.unwrap();
    queue::set_progress(&mut conn, &lease, 0.5).await.unwrap();
    queue::fail(&mut conn, &lease, &failure(FailureCode::Internal)).await.unwrap();
    for change in ["queued", "claimed", "progress", "failed"] {
        assert_eq!(signals.next().await.unwrap(), Signal::Job(lease.job_id), "{change}");
    }
    // The next signal is of the next job: a heartbeat would have come in between.
    let other = world.enqueue().await.id;
    assert_eq!(signals.next().await.unwrap(), Signal::Job(other));
}
