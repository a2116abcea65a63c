//! Jobs that run undisturbed, fail, are cancelled, or are drained.

use std::time::{Duration, Instant};

use secateur::queue;
use secateur::spec::failure::FailureCode;
use secateur::spec::job::{JobStatus, Stage};
use secateur::store::model;
use secateur::store::tenant::DEFAULT_TENANT;

use super::host::{Hosted, LONG, settings, until_event, until_status};
use super::script;
use crate::support::world::World;

/// Says that it runs, and does until it is ended.
const FOREVER: &str = r#"
tell '{"message":"event","event":{"kind":"up","message":"Up."}}'
while :; do sleep 0.05; done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attempt_tells_and_makes_is_published() {
    let world = World::new().await;
    script::write(
        world.folder.path(),
        r#"
        tell '{"message":"stage","stage":"evaluating","step":0}'
        tell '{"message":"progress","fraction":0.5}'
        tell '{"message":"event","event":{"kind":"finding","message":"Something.","data":{"n":1}}}'
        finish "smaller"
        "#,
    );
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    assert_eq!((done.stage, done.progress, done.attempt), (Some(Stage::Evaluating), 1.0, 1));
    assert_eq!(world.event_kinds(job.id).await, ["queued", "started", "stage", "finding", "succeeded"]);

    let id = done.output_model_id.expect("a model was made");
    let model = model::get(&mut *world.conn().await, DEFAULT_TENANT, id).await.unwrap();
    assert_eq!(model.lineage.unwrap().parent_id, job.model_id);
    assert_eq!(world.objects.read(&model.blob.sha256).await.unwrap(), "smaller\n");
    worker.stop().await;
    let scratch = std::fs::read_dir(world.folder.path().join("scratch")).unwrap().count();
    assert_eq!(scratch, 0, "an orderly end leaves nothing");
}

// What is published of a step's model has no bound that a message could have: names alone may have megabytes.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_a_step_is_published_however_much_there_is_to_say_of_it() {
    const BYTES: usize = 2 << 20;
    let world = World::new().await;
    script::write(
        world.folder.path(),
        &format!(
            r#"
            mkdir -p checkpoints/0 outputs
            echo small >checkpoints/0/step-0.onnx
            name=$(head -c {BYTES} /dev/zero | tr '\0' x)
            cat >outputs/step-0.json <<MADE
            {{"model":{{"step":0,"file":"step-0.onnx","summary":{{"inputs":[],"outputs":[{{"name":"$name","dtype":"float","shape":null}}],
              "opsets":{{}},"ir_version":8,"producer":null,"nodes":1,"parameters":1,"macs":1}}}},"certificate":null}}
MADE
            tell_step_finished 0
            kept 0
            finish smaller 1 0
            "#
        ),
    );
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    until_status(&world, job.id, JobStatus::Succeeded).await;
    worker.stop().await;
    let mut conn = world.conn().await;
    let made = model::made_by(&mut conn, DEFAULT_TENANT, &[job.id]).await.unwrap();
    let [(_, 0, first), (_, 1, _)] = made[..] else { panic!("{made:?}") };
    let model = model::get(&mut conn, DEFAULT_TENANT, first).await.unwrap();
    assert_eq!(model.summary.outputs[0].name.len(), BYTES);
    assert_eq!(world.objects.read(&model.blob.sha256).await.unwrap(), "small\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_the_job_with_its_reason() {
    let world = World::new().await;
    script::write(
        world.folder.path(),
        r#"end '{"outcome":"failed","failure":{"code":"target_unreachable","message":"0.7 was possible","place":"/spec"}}'"#,
    );
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    let error = until_status(&world, job.id, JobStatus::Failed).await.error.unwrap();
    assert_eq!((error.code, error.place.as_deref()), (FailureCode::TargetUnreachable, Some("/spec")));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_within_five_seconds_and_publishes_nothing() {
    let world = World::new().await;
    script::write(world.folder.path(), &format!("trap '' TERM\n{FOREVER}"));
    let job = world.enqueue().await;
    // Renewals are far apart: the notification alone tells of the cancel.
    let worker = Hosted::start(&world, settings(LONG)).await;
    until_event(&world, job.id, "up").await;

    let began = Instant::now();
    queue::cancel(&mut *world.conn().await, DEFAULT_TENANT, job.id).await.unwrap();
    let cancelled = until_status(&world, job.id, JobStatus::Cancelled).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(cancelled.output_model_id, None);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_whose_notification_is_lost_is_found() {
    let world = World::new().await;
    script::write(world.folder.path(), FOREVER);
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    until_event(&world, job.id, "up").await;
    let began = Instant::now();
    // As `cancel` writes it, without its notification.
    sqlx::query("update jobs set status = 'cancelling', cancel_requested_at = now() where id = $1")
        .bind(job.id)
        .execute(&mut *world.conn().await)
        .await
        .unwrap();
    until_status(&world, job.id, JobStatus::Cancelled).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_job_is_given_back_uncharged_and_goes_on_from_its_checkpoint() {
    let world = World::new().await;
    script::write(
        world.folder.path(),
        &format!(
            r#"
            [ -e resume/state ] && finish "$(cat resume/state)"
            trap 'checkpoint 1 half-way; end "{{\"outcome\":\"interrupted\"}}"' TERM
            {FOREVER}"#
        ),
    );
    let job = world.enqueue().await;
    let worker = Hosted::start(&world, settings(LONG)).await;
    until_event(&world, job.id, "up").await;
    worker.stop().await;

    let waiting = world.job(job.id).await;
    assert_eq!((waiting.status, waiting.attempt, waiting.crash_count), (JobStatus::Queued, 0, 0));

    let worker = Hosted::start(&world, settings(LONG)).await;
    let done = until_status(&world, job.id, JobStatus::Succeeded).await;
    assert_eq!((done.attempt, done.crash_count), (1, 0));
    let model = model::get(&mut *world.conn().await, DEFAULT_TENANT, done.output_model_id.unwrap()).await.unwrap();
    assert_eq!(world.objects.read(&model.blob.sha256).await.unwrap(), "half-way\n");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_claims_nothing_more() {
    let world = World::new().await;
    script::write(world.folder.path(), r#"finish "smaller""#);
    let worker = Hosted::start(&world, settings(LONG)).await;
    worker.stop().await;
    let job = world.enqueue().await;
    assert_eq!(world.status(job.id).await, JobStatus::Queued);
    assert!(script::runs(world.folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_object_store_fails_the_job_with_storage_full() {
    let world = World::new().await;
    let job = world.enqueue().await;
    let Some(disk) = SmallDisk::mount(&world.folder.path().join("objects")) else {
        eprintln!("skipped: this process may not mount a small disk");
        return;
    };
    script::write(world.folder.path(), r#"finish "$(head -c 2000000 /dev/zero | tr '\0' x)""#);
    let worker = Hosted::start(&world, settings(LONG)).await;
    let error = until_status(&world, job.id, JobStatus::Failed).await.error.unwrap();
    assert_eq!(error.code, FailureCode::StorageFull, "{error}");
    worker.stop().await;
    let left = std::fs::read_dir(world.folder.path().join("objects/spool")).unwrap().count();
    assert_eq!(left, 0, "what was half written is gone");
    drop(disk);
}

// The write was repeated until the lease ran out, and the job ended as one that keeps losing its worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_database_fails_the_job_with_storage_full() {
    let world = World::new().await;
    let job = world.enqueue().await;
    sqlx::raw_sql(
        "create function full_disk() returns trigger language plpgsql as
             $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$;
         create trigger full_disk before insert on models execute function full_disk();",
    )
    .execute(&mut *world.conn().await)
    .await
    .unwrap();
    script::write(world.folder.path(), "finish smaller");
    let worker = Hosted::start(&world, settings(LONG)).await;
    let failed = until_status(&world, job.id, JobStatus::Failed).await;
    worker.stop().await;
    let error = failed.error.unwrap();
    assert_eq!((error.code, failed.crash_count), (FailureCode::StorageFull, 0), "{error}");
}

/// A file system of one megabyte.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
