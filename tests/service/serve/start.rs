//! Starting, and who may.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::support::service::Service;
use crate::support::world::World;
use crate::support::{digits, eventually, process};

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_leaves_no_process_and_the_next_start_finds_everything() {
    let mut service = Service::start(&[]).await;
    let (model, _) = digits::upload(&service).await;
    assert!(service.stop().await.success());
    assert!(service.pids().is_empty(), "PostgreSQL was stopped");
    // Each connection that went back to its pool made the server warn of a transaction that was not there.
    let log = std::fs::read_to_string(service.data_dir().join("postgres.log")).unwrap();
    assert!(!log.contains("WARNING"), "{log}");

    service.restart().await;
    assert_eq!(service.read(&format!("/v1/models/{model}")).await["id"], model);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_on_the_same_folder_names_the_process_of_the_first() {
    let mut service = Service::start(&[]).await;
    let second = service.serve().stderr(Stdio::piped()).output().expect("it ends");
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(error.contains(&format!("in use by process {}", service.pid())), "{error}");
    assert_eq!(service.read("/readyz").await["status"], "ok", "the first one is not disturbed");
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_survived_is_adopted() {
    let mut service = Service::start(&[]).await;
    let postmaster = service.postmaster().expect("PostgreSQL runs");
    service.kill_service().await;
    assert!(process::lives(postmaster), "the kill reached the service alone");
    service.restart().await;
    assert_eq!(service.postmaster(), Some(postmaster));
    assert!(service.stop().await.success());
    assert!(!process::lives(postmaster), "who adopted it stops it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_ends_by_itself_is_started_again() {
    let service = Service::start(&[]).await;
    let first = service.postmaster().expect("PostgreSQL runs");
    process::signal(first, Signal::KILL);
    eventually("another one runs", || service.postmaster().is_some_and(|postmaster| postmaster != first)).await;
    // The new process is there before it takes connections.
    service.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_id_that_is_another_programs_by_now_stops_no_start() {
    let mut service = Service::start(&[]).await;
    assert!(service.stop().await.success());
    // As after a restart of the machine: the file is left, and its process id is this test's.
    let stale = format!("{}\n{}\n0\n5432\n/nowhere\n\n\nready\n", std::process::id(), service.data_dir().display());
    std::fs::write(service.data_dir().join("postgres/data/postmaster.pid"), stale).unwrap();
    service.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_database_is_made_anew() {
    let service = Service::new(&[]);
    // As a kill during `initdb` leaves it.
    std::fs::create_dir_all(service.data_dir().join("postgres/data.new/base")).unwrap();
    let service = service.started().await;
    assert_eq!(service.read("/readyz").await["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_does_not_exceed_a_sockets() {
    let service = Service::new(&[]).with_data_in(&"d".repeat(120)).started().await;
    assert_eq!(service.read("/readyz").await["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_told_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let service = Service::new(&["--listen", &address]);
    let output = service.serve().stderr(Stdio::piped()).output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(&format!("listening on {address}; name another")), "{error}");
    assert!(!service.data_dir().join("postgres").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_knows_no_secret_and_has_limits() {
    let world = World::new().await;
    let service = Service::new(&[])
        .with_environment("DATABASE_URL", &world.url())
        .with_environment("AWS_SECRET_ACCESS_KEY", "hunter2")
        .started()
        .await;
    assert_eq!(service.postmaster(), None, "a named database is used, no other is started");
    let (model, dataset) = digits::upload(&service).await;
    let request = json!({"kind": "retrain", "model_id": model, "dataset_id": dataset, "spec": {"epochs": 10_000}});
    let job = service.submit(&request).await;
    service.until(&job, "it retrains", |job| job["stage"] == "retraining").await;

    let attempt = Service::attempt_of(&job).expect("an attempt runs");
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
    assert_eq!(service.finished(&job).await["status"], "cancelled");
}
