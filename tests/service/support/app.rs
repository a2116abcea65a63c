//! A running service: its own database, folder and port. Uploads are looked into by a stand-in that speaks the attempt's
//! protocol and answers with what the upload itself says, so that a test decides what an inspection finds.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secateur::attempt::launcher::{Launcher, LauncherSettings};
use secateur::attempt::scratch::ScratchRoot;
use secateur::http::{self, AppState, HttpSettings};
use secateur::queue::{self, Claim, StepModel};
use secateur::spec::attempt::Limits;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::world::World;

/// Finds the upload's name in the job file, waits at the gate that the upload names, if any, and hands the upload out as
/// the outcome.
const INSPECTOR: &str = r#"#!/bin/sh
file=$(sed -n 's/.*"file":"\([^"]*\)".*/\1/p' job.json)
gate=$(sed -n 's/.*"gate":"\([^"]*\)".*/\1/p' "$file")
[ -z "$gate" ] || read -r _ <"$gate"
cp "$file" outcome.json
"#;

/// A service and a client of it.
pub struct App {
    pub url: String,
    pub client: Client,
    pub world: World,
    pub shutdown: CancellationToken,
}

impl App {
    /// Starts a service with the usual settings.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a service whose settings are changed first.
    pub async fn start_with(change: impl FnOnce(&mut HttpSettings)) -> Self {
        let world = World::new().await;
        let folder = world.folder.path();
        let program = folder.join("inspector");
        std::fs::write(&program, INSPECTOR).expect("a script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("an executable script");
        let scratch = Arc::new(ScratchRoot::open(&folder.join("scratch")).expect("a scratch folder"));
        let launcher = Launcher::new(launcher_settings(program), scratch).expect("a launcher");
        let mut settings = HttpSettings { poll_interval: Duration::from_millis(200), ..HttpSettings::default() };
        change(&mut settings);
        let shutdown = CancellationToken::new();
        let state =
            AppState::new(world.database().clone(), world.objects.clone(), launcher, settings, shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(http::serve(state, listener));
        Self { url, client: Client::new(), world, shutdown }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.at(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.at(path))
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.at(path))
    }

    /// The address of a path, which may be a whole address already.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Uploads a model of which the inspection finds `summary`; returns its id.
    pub async fn model(&self, summary: Value) -> String {
        self.created(self.post("/v1/models").body(inspected("model", &summary))).await
    }

    /// Uploads a dataset of which the inspection finds `summary`; returns its id.
    pub async fn dataset(&self, summary: Value) -> String {
        self.created(self.post("/v1/datasets").body(inspected("dataset", &summary))).await
    }

    /// Submits a job; returns its id.
    pub async fn job(&self, request: Value) -> String {
        let response = self.post("/v1/jobs").json(&request).send().await.expect("an answer");
        id(&expect(response, StatusCode::ACCEPTED).await)
    }

    async fn created(&self, request: RequestBuilder) -> String {
        id(&expect(request.send().await.expect("an answer"), StatusCode::CREATED).await)
    }

    /// Does what a worker does last: publishes a report, and a model of `summary` where there is one.
    pub async fn publish(&self, claim: &Claim, report: &Value, model: Option<Value>) {
        let mut publication = self.world.publication().await;
        publication.report = self.world.blob(report.to_string().as_bytes()).await;
        publication.plan = None;
        publication.model = publication
            .model
            .zip(model)
            .map(|(made, summary)| StepModel { summary: serde_json::from_value(summary).expect("a summary"), ..made });
        queue::publish(&mut *self.world.conn().await, &claim.lease, &publication).await.expect("published");
    }

    /// A named pipe at which an inspection waits until something is written to it.
    pub fn gate(&self) -> PathBuf {
        let gate = self.world.folder.path().join(format!("gate-{}", Uuid::now_v7().simple()));
        let made = std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo runs");
        assert!(made.success());
        gate
    }

    /// Files below a folder of the object store.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.world.folder.path().join("objects").join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn launcher_settings(program: PathBuf) -> LauncherSettings {
    let path = std::env::vars_os().filter(|(name, _)| name == "PATH").collect();
    LauncherSettings {
        program,
        environment: path,
        log_filter: "info".into(),
        drain_grace: Duration::from_secs(5),
        inspection: Limits { memory_bytes: 1 << 30, deadline_ms: 60_000, file_bytes: 1 << 30, open_files: 256 },
        concurrent_inspections: 8,
    }
}

/// Bytes of which the stand-in finds `summary`.
pub fn inspected(what: &str, summary: &Value) -> String {
    let mut inspection = summary.clone();
    inspection["what"] = what.into();
    json!({"outcome": "inspected", "inspection": inspection}).to_string()
}

/// Bytes that the stand-in refuses.
pub fn refused(code: &str, message: &str, place: &str) -> String {
    json!({"outcome": "failed", "failure": {"code": code, "message": message, "place": place}}).to_string()
}

/// The same bytes, at which the inspection waits at a gate.
pub fn gated(upload: &str, gate: &Path) -> String {
    let mut upload: Value = serde_json::from_str(upload).expect("JSON");
    upload["gate"] = gate.to_str().expect("a plain path").into();
    upload.to_string()
}

/// A model of one image input and ten classes.
pub fn classifier() -> Value {
    json!({
        "inputs": [{"name": "x", "dtype": "float", "shape": ["N", 3, 32, 32]}],
        "outputs": [{"name": "logits", "dtype": "float", "shape": ["N", 10]}],
        "opsets": {"ai.onnx": 17}, "ir_version": 8, "producer": "test", "nodes": 3, "parameters": 100, "macs": 1000,
    })
}

/// A dataset that fits [`classifier`].
pub fn samples() -> Value {
    json!({
        "format": "npz", "samples": 100, "classes": 10, "preprocess": null,
        "arrays": [{"name": "x", "dtype": "float32", "sample_shape": [3, 32, 32]}],
    })
}

/// A report with nothing in it.
pub fn report(job_id: &str, model_id: &str) -> Value {
    json!({
        "schema_version": 1, "kind": "prune", "job_id": job_id, "model_id": model_id, "model_name": "net", "steps": [],
        "environment": {"secateur_version": "0.1.0", "onnx_runtime": null, "cpu": "test", "cores": 1, "threads": 1},
    })
}

/// The JSON of a response, whose status must be `status`.
pub async fn expect(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let body = response.text().await.expect("a body");
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The JSON of a problem, whose code must be `code`.
pub async fn problem(response: Response, status: StatusCode, code: &str) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let request_id = response.headers()["x-request-id"].clone();
    let problem = expect(response, status).await;
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status.as_u16())), "{problem}");
    assert_eq!(problem["type"], format!("urn:secateur:problem:{code}"));
    assert_eq!(problem["request_id"].as_str(), request_id.to_str().ok());
    problem
}

fn id(body: &Value) -> String {
    body["id"].as_str().expect("an id").to_owned()
}
