//! Kills: of an attempt, of a worker, of a worker's heart. The job is finished or explained, and nothing is published
//! twice.

use std::time::Duration;

use rustix::process::Signal;
use secateur::queue;
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobStatus;
use secateur::store::model;
use secateur::store::tenant::DEFAULT_TENANT;

use super::host::{Hosted, LONG, OtherProcess, settings, until, until_event, until_status};
use super::script;
use crate::support::eventually;
use crate::support::world::World;

/// Keeps a checkpoint, says so, and runs until it is ended; the attempt that finds the checkpoint finishes with it.
const ONCE_MORE: &str = r#"
[ -e resume/state ] && finish "$(cat resume/state)"
checkpoint 1 half-way
kept 1
tell '{"message":"event","event":{"kind":"up","message":"Up."}}'
while :; do sleep 0.05; done
"#;

async fn output(world: &World, job: &secateur::store::job::Job) -> bytes::Bytes {
    let id = job.output_model_id.expect("a model was made");
    let model = model::get(&mut *world.conn().await, DEFAULT_TENANT, id).await.unwrap();
    world.objects.read(&model.blob.sha256).await.unwrap()
}

fn lives(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_attempt_is_resumed_from_its_checkpoint() {
    let world = World::new().await;
    script::write(world.folder.path(), ONCE_MORE);
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    until_event(&world, job.id, "up").await;
    let attempt = script::runs(world.folder.path())[0];
    rustix::process::kill_process(rustix::process::Pid::from_raw(attempt.cast_signed()).unwrap(), Signal::KILL)
        .unwrap();

    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    assert_eq!((done.attempt, done.crash_count), (2, 1));
    assert_eq!(output(&world, &done).await, "half-way\n");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_after_the_end_of_a_step_has_published_it_once() {
    let world = World::new().await;
    script::write(
        world.folder.path(),
        r#"
        [ -e resume/state ] && finish "$(cat resume/state)er" 1 0
        step_finished 0 small
        tell '{"message":"event","event":{"kind":"up","message":"Up."}}'
        while :; do sleep 0.05; done
        "#,
    );
    let job = world.enqueue().await;
    let mut dead = OtherProcess::start(&world, LONG);
    until_event(&world, job.id, "up").await;
    let mut conn = world.conn().await;
    let before = model::made_by(&mut conn, DEFAULT_TENANT, &[job.id]).await.unwrap();
    let [(_, 0, first)] = before[..] else { panic!("{before:?}") };
    let small = model::get(&mut conn, DEFAULT_TENANT, first).await.unwrap();
    assert_eq!(world.objects.read(&small.blob.sha256).await.unwrap(), "small\n");
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    let orphan = script::runs(world.folder.path())[0];
    rustix::process::kill_process(rustix::process::Pid::from_raw(orphan.cast_signed()).unwrap(), Signal::KILL).unwrap();

    let worker = Hosted::start(&world, settings(LONG)).await;
    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    assert_eq!(output(&world, &done).await, "smaller\n");
    worker.stop().await;
    let made = model::made_by(&mut conn, DEFAULT_TENANT, &[job.id]).await.unwrap();
    let [(_, 0, kept), (_, 1, last)] = made[..] else { panic!("{made:?}") };
    assert_eq!((kept, Some(last)), (first, done.output_model_id));
    assert_eq!(model::get(&mut conn, DEFAULT_TENANT, last).await.unwrap().lineage.unwrap().parent_id, first);
    let ends = world.event_kinds(job.id).await.into_iter().filter(|kind| kind == "step_finished").count();
    assert_eq!(ends, 1);
}

// A job whose line about the end of a step was lost succeeded without the step's model.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_did_not_tell_of_a_steps_model_is_done_again() {
    let world = World::new().await;
    script::write(
        world.folder.path(),
        r#"
        mkdir "$WORLD/first" 2>/dev/null || step_finished 0 small
        finish smaller 1 0
        "#,
    );
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    until(&world, job.id, "the first attempt is over", |job| job.crash_count == 1).await;
    world.pauses_pass().await;
    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    worker.stop().await;
    assert_eq!(output(&world, &done).await, "smaller\n");
    let made = model::made_by(&mut *world.conn().await, DEFAULT_TENANT, &[job.id]).await.unwrap();
    assert_eq!(made.iter().map(|(_, step, _)| *step).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_keeps_dying_is_given_up() {
    let world = World::new().await;
    script::write(world.folder.path(), "kill -KILL $$");
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    for crash in 1..=queue::CRASH_CAP {
        until(&world, job.id, "it crashed again", |job| job.crash_count >= crash || job.status == JobStatus::Failed)
            .await;
        world.pauses_pass().await;
    }
    let failed = until_status(&world, job.id, JobStatus::Failed).await;
    assert_eq!(failed.error.unwrap().code, FailureCode::WorkerCrashed);
    assert_eq!(script::runs(world.folder.path()).len(), queue::CRASH_CAP as usize + 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_does_not_wait_for_the_lease_of_a_worker_that_was_killed() {
    let world = World::new().await;
    script::write(world.folder.path(), ONCE_MORE);
    let job = world.enqueue().await;
    let mut dead = OtherProcess::start(&world, LONG);
    until_event(&world, job.id, "up").await;
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    let orphan = script::runs(world.folder.path())[0];
    // The script has no lifeline thread; the kill of its parent is what the kernel's signal ends in the real program.
    rustix::process::kill_process(rustix::process::Pid::from_raw(orphan.cast_signed()).unwrap(), Signal::KILL).unwrap();

    // The lease would last for an hour.
    let worker = Hosted::start(&world, settings(LONG)).await;
    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    assert_eq!((done.attempt, done.crash_count), (2, 1));
    assert_eq!(output(&world, &done).await, "half-way\n");
    worker.stop().await;
    let left = std::fs::read_dir(world.folder.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0, "the dead one's files are swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_after_its_lease_publishes_nothing() {
    let world = World::new().await;
    // The first attempt finishes only when it is told to, which is after its worker slept.
    script::write(
        world.folder.path(),
        r#"
        if mkdir "$WORLD/first" 2>/dev/null; then
            tell '{"message":"event","event":{"kind":"up","message":"Up."}}'
            while [ ! -e "$WORLD/go" ]; do sleep 0.01; done
            finish first
        fi
        finish second
        "#,
    );
    let job = world.enqueue().await;
    let lease = Duration::from_millis(1500);
    let sleeper = OtherProcess::start(&world, lease);
    until_event(&world, job.id, "up").await;
    sleeper.signal(Signal::STOP);
    std::fs::write(world.folder.path().join("go"), "").unwrap();

    let worker = Hosted::start(&world, settings(lease)).await;
    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    assert_eq!(output(&world, &done).await, "second\n");
    sleeper.signal(Signal::CONT);

    // It is awake when it claims again; by then it has dealt with what it was at.
    worker.stop().await;
    std::fs::remove_dir(world.folder.path().join("first")).unwrap();
    let next = world.enqueue().await;
    until_status(&world, next.id, JobStatus::Succeeded).await;
    assert_eq!(world.outcomes(job.id).await, ["lost", "succeeded"]);
    assert_eq!(world.job(job.id).await, done, "nothing was written after the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_job_was_taken_away_is_killed() {
    let world = World::new().await;
    script::write(
        world.folder.path(),
        r#"
        tell '{"message":"event","event":{"kind":"up","message":"Up."}}'
        while :; do sleep 0.05; done
        "#,
    );
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    until_event(&world, job.id, "up").await;
    let attempt = script::runs(world.folder.path())[0];
    // Somebody else takes the job, and keeps it.
    sqlx::query(
        "update jobs set status = 'queued', run_at = now() + interval '1 hour', worker_id = null, attempt_started_at = null,
             lease_renewed_at = null, lease_expires_at = null where id = $1",
    )
    .bind(job.id)
    .execute(&mut *world.conn().await)
    .await
    .unwrap();
    eventually("the attempt is killed", || !lives(attempt)).await;
    worker.stop().await;
    let history = world.event_kinds(job.id).await;
    assert_eq!(history, ["queued", "started", "up"], "the loser wrote nothing");
}
