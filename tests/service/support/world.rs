//! The world of a test: its database, its object store, and the steps that its story is told in.

use std::time::Duration;

use secateur::queue::{self, CheckpointFile, Claim, FinishedStep, Lease, NewJob, Publication, QueueError, StepModel};
use secateur::spec::attempt::JobEvent;
use secateur::spec::failure::{Failure, FailureCode};
use secateur::spec::job::{JobRequest, JobStatus};
use secateur::spec::summary::{DatasetFormat, DatasetSummary, ModelSummary};
use secateur::store::blob::{self, BlobRef};
use secateur::store::database::Database;
use secateur::store::dataset::{self, NewDataset};
use secateur::store::event::{self, Event};
use secateur::store::job::{self, Job};
use secateur::store::model::{self, Model, NewModel};
use secateur::store::object::Objects;
use secateur::store::tenant::DEFAULT_TENANT;
use serde_json::json;
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use uuid::Uuid;

use super::postgres::TestDatabase;

/// Longer than any test runs: a lease of it runs out only where a test says so.
pub const LEASE: Duration = Duration::from_hours(1);

pub struct World {
    pub objects: Objects,
    pub folder: tempfile::TempDir,
    database: TestDatabase,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Objects::open(&folder.path().join("objects")).expect("an object store");
        Self { objects, folder, database: TestDatabase::create().await }
    }

    pub fn database(&self) -> &Database {
        &self.database.database
    }

    /// The database's address, for another process.
    pub fn url(&self) -> String {
        self.database.url()
    }

    pub async fn conn(&self) -> PoolConnection<Postgres> {
        self.database().pool().acquire().await.expect("a connection")
    }

    /// Stores content as an upload does.
    pub async fn blob(&self, content: &[u8]) -> BlobRef {
        let mut spool = self.objects.spool().await.expect("a spool file");
        spool.write(content).await.expect("content is written");
        let spooled = spool.finish().await.expect("content is complete");
        blob::store(&mut *self.conn().await, &self.objects, spooled).await.expect("content is stored")
    }

    pub async fn model(&self) -> Model {
        let blob = self.blob(b"a model").await;
        model::insert(&mut *self.conn().await, DEFAULT_TENANT, &new_model(blob)).await.expect("a model")
    }

    pub async fn dataset(&self) -> Uuid {
        let blob = self.blob(b"a dataset").await;
        let new = NewDataset { id: Uuid::now_v7(), name: "digits".into(), blob, summary: dataset_summary() };
        dataset::insert(&mut *self.conn().await, DEFAULT_TENANT, &new).await.expect("a dataset").id
    }

    /// Queues an evaluation of a new model.
    pub async fn enqueue(&self) -> Job {
        let model_id = self.model().await.id;
        self.enqueue_new(&new_job(&json!({ "kind": "evaluate", "model_id": model_id }))).await.expect("a job")
    }

    pub async fn enqueue_new(&self, new: &NewJob) -> Result<Job, QueueError> {
        queue::enqueue(&mut *self.conn().await, DEFAULT_TENANT, new).await
    }

    /// Claims the next job for a new worker.
    pub async fn claim(&self) -> Claim {
        self.claim_as(Uuid::now_v7()).await.expect("a job is due")
    }

    pub async fn claim_as(&self, worker_id: Uuid) -> Option<Claim> {
        queue::claim(&mut *self.conn().await, worker_id, LEASE).await.expect("a claim")
    }

    /// Queues a job and claims it.
    pub async fn running(&self) -> Claim {
        self.enqueue().await;
        self.claim().await
    }

    pub async fn job(&self, id: Uuid) -> Job {
        job::get(&mut *self.conn().await, DEFAULT_TENANT, id).await.expect("a job")
    }

    pub async fn status(&self, id: Uuid) -> JobStatus {
        self.job(id).await.status
    }

    pub async fn events(&self, id: Uuid) -> Vec<Event> {
        event::list(&mut *self.conn().await, DEFAULT_TENANT, id, 0, 1000).await.expect("events")
    }

    /// How the job's attempts ended, oldest first; `running` of one that has not.
    pub async fn outcomes(&self, id: Uuid) -> Vec<String> {
        sqlx::query_scalar(
            "select coalesce(outcome, 'running') from job_attempts where job_id = $1 order by lease_token",
        )
        .bind(id)
        .fetch_all(&mut *self.conn().await)
        .await
        .expect("attempts")
    }

    pub async fn event_kinds(&self, id: Uuid) -> Vec<String> {
        self.events(id).await.into_iter().map(|event| event.event.kind).collect()
    }

    /// Results of a job with one model.
    pub async fn publication(&self) -> Publication {
        Publication {
            model: Some(self.step_model(0, b"a smaller model").await),
            earlier: Vec::new(),
            report: self.blob(b"a report").await,
            plan: Some(self.blob(b"a plan").await),
        }
    }

    /// A model that a step (0-based) made.
    pub async fn step_model(&self, step: u32, content: &[u8]) -> StepModel {
        let blob = self.blob(content).await;
        StepModel { step, name: "smaller".into(), blob, summary: model_summary(), certificate: None }
    }

    /// The end of a step that made a model of this content, with a checkpoint that holds it too.
    pub async fn finished_step(&self, step: u32, content: &[u8]) -> FinishedStep {
        let model = self.step_model(step, content).await;
        let mut checkpoint = self.checkpoint().await;
        checkpoint.push(CheckpointFile { name: format!("step-{step}.onnx"), blob: model.blob.clone() });
        let message = format!("Step {} is done.", step + 1);
        let event = JobEvent { kind: "step_finished".into(), message, data: json!({ "step": step }) };
        FinishedStep { step, model: Some(model), event, checkpoint }
    }

    pub async fn checkpoint(&self) -> Vec<CheckpointFile> {
        vec![CheckpointFile { name: "weights.bin".into(), blob: self.blob(b"weights").await }]
    }

    /// Lets the lease run out, as if its worker had not been heard of for long.
    pub async fn lease_runs_out(&self, lease: &Lease) {
        let expired = sqlx::query("update jobs set lease_expires_at = now() where id = $1 and lease_token = $2")
            .bind(lease.job_id)
            .bind(lease.token)
            .execute(&mut *self.conn().await)
            .await
            .expect("the lease is set back");
        assert_eq!(expired.rows_affected(), 1, "the lease is held");
    }

    /// Rescues what is to be rescued; a minute after its deadline a job is overdue.
    pub async fn rescue(&self) -> Vec<queue::Rescued> {
        queue::rescue(&mut *self.conn().await, Duration::from_mins(1)).await.expect("a rescue")
    }

    /// Lets the pauses before next attempts pass.
    pub async fn pauses_pass(&self) {
        sqlx::query("update jobs set run_at = now() where status = 'queued'")
            .execute(&mut *self.conn().await)
            .await
            .expect("pauses are shortened");
    }

    /// Lets `duration` of running time pass in the job's attempt, with heartbeats up to now.
    pub async fn attempt_has_run(&self, id: Uuid, duration: Duration) {
        sqlx::query("update jobs set attempt_started_at = now() - make_interval(secs => $2) where id = $1")
            .bind(id)
            .bind(duration.as_secs_f64())
            .execute(&mut *self.conn().await)
            .await
            .expect("the start is set back");
    }

    pub async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&mut *self.conn().await).await.expect("a count")
    }
}

/// Waits until `n` sessions of the test's database wait for a lock.
pub async fn until_waiting_for_locks(conn: &mut PgConnection, n: i64) {
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *conn)
        .await
        .expect("the server tells of its sessions");
        if waiting == n {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub fn failure(code: FailureCode) -> Failure {
    Failure::new(code, "as the test has it")
}

/// A job of a request in JSON, with an hour of running time.
pub fn new_job(request: &serde_json::Value) -> NewJob {
    let request: JobRequest = serde_json::from_value(request.clone()).expect("a request");
    let spec = request.parse().expect("a sound spec");
    NewJob { id: Uuid::now_v7(), request, spec, deadline: Duration::from_hours(1), priority: 0 }
}

pub fn new_model(blob: BlobRef) -> NewModel {
    NewModel {
        id: Uuid::now_v7(),
        name: "net".into(),
        blob,
        summary: model_summary(),
        lineage: None,
        certificate: None,
    }
}

pub fn model_summary() -> ModelSummary {
    ModelSummary {
        inputs: Vec::new(),
        outputs: Vec::new(),
        opsets: [("ai.onnx".to_owned(), 17)].into(),
        ir_version: 8,
        producer: None,
        nodes: 3,
        parameters: 10,
        macs: Some(20),
        macs_unknown: None,
        notes: Vec::new(),
    }
}

fn dataset_summary() -> DatasetSummary {
    DatasetSummary {
        format: DatasetFormat::Npz,
        samples: 10,
        arrays: Vec::new(),
        classes: Some(2),
        class_names: Vec::new(),
        preprocess: None,
        notes: Vec::new(),
    }
}
