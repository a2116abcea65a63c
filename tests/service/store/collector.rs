//! The collector beside uploads and publishes, at each point where they can meet. A trigger holds the collector where a
//! test wants it: at an advisory lock, with the object deleted and the row not yet.

use std::time::Duration;

use secateur::queue;
use secateur::store::blob::{self, BlobRef};
use secateur::store::collector::{Collected, collect};
use secateur::store::model;
use secateur::store::tenant::DEFAULT_TENANT;
use tokio::task::JoinHandle;

use crate::support::world::{World, new_model, until_waiting_for_locks};

const HOUR: Duration = Duration::from_hours(1);

async fn collect_now(world: &World) -> Collected {
    collect(world.database(), &world.objects, HOUR, 100).await.unwrap()
}

/// Lets two hours pass since anybody touched a blob.
async fn time_passes(world: &World) {
    sqlx::query("update blobs set touched_at = touched_at - interval '2 hours'")
        .execute(&mut *world.conn().await)
        .await
        .unwrap();
}

/// Makes the collector wait for the advisory lock 1 before it deletes a row.
async fn make_it_wait(world: &World) {
    for statement in [
        "create function wait_for_test() returns trigger language plpgsql as
             $$ begin perform pg_advisory_xact_lock(1); return old; end $$",
        "create trigger wait_for_test before delete on blobs for each row execute function wait_for_test()",
    ] {
        sqlx::query(statement).execute(&mut *world.conn().await).await.unwrap();
    }
}

fn collector(world: &World) -> JoinHandle<Collected> {
    let (database, objects) = (world.database().clone(), world.objects.clone());
    tokio::spawn(async move { collect(&database, &objects, HOUR, 100).await.unwrap() })
}

async fn is_there(world: &World, blob: &BlobRef) -> (bool, bool) {
    let row: bool = sqlx::query_scalar("select exists (select from blobs where sha256 = $1)")
        .bind(&blob.sha256)
        .fetch_one(&mut *world.conn().await)
        .await
        .unwrap();
    (row, world.objects.contains(&blob.sha256).await.unwrap())
}

#[tokio::test]
async fn only_blobs_that_nothing_refers_to_and_nobody_touched_lately_go() {
    let world = World::new().await;
    let model = world.model().await;
    let lease = world.running().await.lease;
    let files = world.checkpoint().await;
    queue::save_checkpoint(&mut *world.conn().await, &lease, &files).await.unwrap();
    let garbage = world.blob(b"garbage").await;
    time_passes(&world).await;
    let young = world.blob(b"young").await;

    assert_eq!(collect_now(&world).await, Collected { blobs: 1, bytes: 7 });
    assert_eq!(is_there(&world, &garbage).await, (false, false));
    for kept in [&model.blob, &files[0].blob, &young] {
        assert_eq!(is_there(&world, kept).await, (true, true));
    }

    // With the end of the job its checkpoint is garbage, its report is not.
    let publication = world.publication().await;
    queue::publish(&mut *world.conn().await, &lease, &publication).await.unwrap();
    time_passes(&world).await;
    collect_now(&world).await;
    assert_eq!(is_there(&world, &files[0].blob).await, (false, false));
    assert_eq!(is_there(&world, &publication.report).await, (true, true));
}

#[tokio::test]
async fn storing_known_content_again_keeps_it_for_another_while() {
    let world = World::new().await;
    let blob = world.blob(b"known").await;
    time_passes(&world).await;
    world.blob(b"known").await;
    assert_eq!(collect_now(&world).await, Collected::default());
    assert_eq!(is_there(&world, &blob).await, (true, true));
}

#[tokio::test]
async fn a_reference_that_is_not_committed_yet_keeps_its_blob() {
    let world = World::new().await;
    let blob = world.blob(b"a model").await;
    time_passes(&world).await;
    let mut publishing = world.database().pool().begin().await.unwrap();
    model::insert(&mut publishing, DEFAULT_TENANT, &new_model(blob.clone())).await.unwrap();
    assert_eq!(collect_now(&world).await, Collected::default());
    publishing.commit().await.unwrap();
    assert_eq!(collect_now(&world).await, Collected::default());
    assert_eq!(is_there(&world, &blob).await, (true, true));
}

#[tokio::test]
async fn a_reference_that_comes_after_the_collector_has_looked_keeps_its_blob() {
    let world = World::new().await;
    let first = world.blob(b"collected first").await;
    time_passes(&world).await;
    let second = world.blob(b"referred to meanwhile").await;
    time_passes(&world).await;
    make_it_wait(&world).await;

    let mut test = world.database().connection().await.unwrap();
    sqlx::query("select pg_advisory_lock(1)").execute(&mut test).await.unwrap();
    let collector = collector(&world);
    until_waiting_for_locks(&mut test, 1).await;
    // It holds a list with both and is busy with the first.
    model::insert(&mut *world.conn().await, DEFAULT_TENANT, &new_model(second.clone())).await.unwrap();
    sqlx::query("select pg_advisory_unlock(1)").execute(&mut test).await.unwrap();

    assert_eq!(collector.await.unwrap().blobs, 1);
    assert_eq!(is_there(&world, &first).await, (false, false));
    assert_eq!(is_there(&world, &second).await, (true, true));
}

#[tokio::test]
async fn an_upload_that_meets_the_collector_waits_and_puts_its_content_anew() {
    let world = World::new().await;
    let blob = world.blob(b"uploaded again").await;
    time_passes(&world).await;
    make_it_wait(&world).await;

    let mut test = world.database().connection().await.unwrap();
    sqlx::query("select pg_advisory_lock(1)").execute(&mut test).await.unwrap();
    let collector = collector(&world);
    until_waiting_for_locks(&mut test, 1).await;
    assert_eq!(is_there(&world, &blob).await, (true, false), "the object is gone, the row not yet");
    let (database, objects) = (world.database().clone(), world.objects.clone());
    let upload = tokio::spawn(async move {
        let mut spool = objects.spool().await.unwrap();
        spool.write(b"uploaded again").await.unwrap();
        let spooled = spool.finish().await.unwrap();
        blob::store(&mut database.connection().await.unwrap(), &objects, spooled).await.unwrap()
    });
    until_waiting_for_locks(&mut test, 2).await;
    sqlx::query("select pg_advisory_unlock(1)").execute(&mut test).await.unwrap();

    assert_eq!(collector.await.unwrap().blobs, 1);
    assert_eq!(upload.await.unwrap(), blob);
    assert_eq!(is_there(&world, &blob).await, (true, true));
}

#[tokio::test]
async fn a_collector_that_dies_half_way_leaves_what_the_next_upload_repairs() {
    let world = World::new().await;
    let blob = world.blob(b"half deleted").await;
    time_passes(&world).await;
    for statement in [
        "create function die() returns trigger language plpgsql as $$ begin raise 'the connection is lost'; end $$",
        "create trigger die before delete on blobs for each row execute function die()",
    ] {
        sqlx::query(statement).execute(&mut *world.conn().await).await.unwrap();
    }
    collect(world.database(), &world.objects, HOUR, 100).await.unwrap_err();
    assert_eq!(is_there(&world, &blob).await, (true, false));
    world.blob(b"half deleted").await;
    assert_eq!(is_there(&world, &blob).await, (true, true));
}

#[tokio::test]
async fn a_replaced_checkpoint_goes_at_once_unless_somebody_else_announced_its_content() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let save = async |name: &str, content: &[u8]| {
        let blob = world.blob(content).await;
        let file = queue::CheckpointFile { name: name.into(), blob: blob.clone() };
        queue::save_checkpoint(&mut *world.conn().await, &lease, &[file]).await.unwrap();
        blob
    };
    let first = save("weights.bin", b"first").await;
    let second = save("weights.bin", b"second").await;
    assert_eq!(collect_now(&world).await, Collected { blobs: 1, bytes: 5 });
    assert_eq!((is_there(&world, &first).await, is_there(&world, &second).await), ((false, false), (true, true)));

    // An upload of the same content is between its announcement and its row.
    world.blob(b"second").await;
    let third = save("weights.bin", b"third").await;
    assert_eq!(collect_now(&world).await, Collected::default());
    model::insert(&mut *world.conn().await, DEFAULT_TENANT, &new_model(second.clone())).await.unwrap();
    assert_eq!(is_there(&world, &second).await, (true, true));

    // The same where the upload came first, and where it comes once the blob was given up.
    let fourth = world.blob(b"fourth").await;
    save("weights.bin", b"fourth").await;
    save("weights.bin", b"fifth").await;
    world.blob(b"third").await;
    assert_eq!(collect_now(&world).await, Collected::default());
    for kept in [&third, &fourth] {
        assert_eq!(is_there(&world, kept).await, (true, true));
    }
}

#[tokio::test]
async fn the_checkpoint_of_a_job_that_has_ended_goes_at_once() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let files = world.checkpoint().await;
    queue::save_checkpoint(&mut *world.conn().await, &lease, &files).await.unwrap();
    // Kept again unchanged: announced twice, so it waits for the grace period.
    let again = world.checkpoint().await;
    queue::save_checkpoint(&mut *world.conn().await, &lease, &again).await.unwrap();
    let last = queue::CheckpointFile { name: "state.bin".into(), blob: world.blob(b"state").await };
    queue::save_checkpoint(&mut *world.conn().await, &lease, &[again[0].clone(), last.clone()]).await.unwrap();
    queue::finish_cancelled(&mut *world.conn().await, &lease).await.unwrap();
    assert_eq!(collect_now(&world).await, Collected { blobs: 1, bytes: 5 });
    assert_eq!(is_there(&world, &last.blob).await, (false, false));
    assert_eq!(is_there(&world, &files[0].blob).await, (true, true));
}
