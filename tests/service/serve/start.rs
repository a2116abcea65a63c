//! Starting, and who may.

use std::time::Duration;

use super::service::{DataDir, Service, command, lives};
use crate::support::eventually;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_leaves_no_process_and_the_next_start_finds_everything() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let (model, _) = service.digits().await;
    let postmaster = data.postmaster().expect("PostgreSQL runs");
    service.stop();
    assert!(!lives(postmaster), "PostgreSQL was stopped");

    let service = Service::start(&data.path());
    assert_eq!(service.get(&format!("/v1/models/{model}")).await["id"], model);
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_on_the_same_folder_names_the_process_of_the_first() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let second = command(&data.path()).output().expect("it ends");
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(error.contains(&format!("in use by process {}", service.pid())), "{error}");
    assert_eq!(service.get("/readyz").await["status"], "ok", "the first one is not disturbed");
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_survived_is_adopted() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let postmaster = data.postmaster().expect("PostgreSQL runs");
    service.kill();
    assert!(lives(postmaster), "the kill reached the service alone");
    let service = Service::start(&data.path());
    assert_eq!(data.postmaster(), Some(postmaster));
    service.stop();
    assert!(!lives(postmaster), "who adopted it stops it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_ends_by_itself_is_started_again() {
    let data = DataDir::new();
    let service = Service::start(&data.path());
    let first = data.postmaster().expect("PostgreSQL runs");
    super::service::signal(first, rustix::process::Signal::KILL);
    eventually("another one runs", || data.postmaster().is_some_and(|postmaster| postmaster != first)).await;
    // The answer waits for a connection of the pool.
    assert_eq!(service.get("/readyz").await["status"], "ok");
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_id_that_is_another_programs_by_now_stops_no_start() {
    let data = DataDir::new();
    Service::start(&data.path()).stop();
    // As after a restart of the machine: the file is left, and its process id is this test's.
    let stale = format!("{}\n{}\n0\n5432\n/nowhere\n\n\nready\n", std::process::id(), data.path().display());
    std::fs::write(data.path().join("postgres/data/postmaster.pid"), stale).unwrap();
    Service::start(&data.path()).stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_does_not_exceed_a_sockets() {
    let data = DataDir::new();
    let service = Service::start(&data.path().join("d".repeat(120)));
    assert_eq!(service.get("/readyz").await["status"], "ok");
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_told_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data = DataDir::new();
    let mut command = command(&data.path());
    // The last one counts.
    let output = command.args(["--listen", &taken.local_addr().unwrap().to_string()]).output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("--listen"), "{error}");
    assert!(!data.path().join("postgres").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_knows_no_secret_and_has_limits() {
    let world = World::new().await;
    let data = DataDir::new();
    let mut command = command(&data.path());
    command.env("DATABASE_URL", world.url()).env("AWS_SECRET_ACCESS_KEY", "hunter2");
    let service = Service::start_with(command);
    assert_eq!(data.postmaster(), None, "a named database is used, no other is started");
    let digits = service.digits().await;
    let job = service.retrain(&digits).await;
    service.until(&job, "it retrains", |job| job["stage"] == "retraining").await;

    let attempt = service.attempt().expect("an attempt runs");
    let environment = std::fs::read(format!("/proc/{attempt}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    let names: Vec<&str> = environment.split('\0').filter_map(|variable| variable.split('=').next()).collect();
    for secret in ["DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "HOME", "USER"] {
        assert!(!names.contains(&secret), "{secret} in {names:?}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{attempt}/limits")).unwrap();
    let limits = limits.split_whitespace().collect::<Vec<_>>().join(" ");
    for limit in ["Max core file size 0 0", "Max open files 1024 1024", "Max file size 17179869184 17179869184"] {
        assert!(limits.contains(limit), "{limit} in\n{limits}");
    }
    assert_eq!(std::fs::read_to_string(format!("/proc/{attempt}/oom_score_adj")).unwrap().trim(), "1000");
    service.cancel(&job).await;
    service.until(&job, "it is cancelled", |job| job["status"] == "cancelled").await;
    tokio::time::timeout(Duration::from_secs(20), async { service.stop() }).await.expect("it stops");
}
