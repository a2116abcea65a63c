//! Random sequences of operations on the real SQL beside a model of the state machine that is written down here once
//! more, from the drawing in `docs/QUEUE.md` and without the code under test.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use secateur::queue::{self, Lease, PublishOutcome, QueueError};
use secateur::spec::attempt::JobEvent;
use secateur::spec::failure::FailureCode;
use secateur::spec::job::JobStatus::{self, Cancelled, Cancelling, Failed, Queued, Running, Succeeded};
use secateur::store::tenant::DEFAULT_TENANT;
use serde_json::json;
use uuid::Uuid;

use crate::support::world::{LEASE, World, failure, new_job};

/// Something that a client, a worker or time does. Numbers pick a job, or a lease among all that ever were.
#[derive(Clone, Debug)]
enum Step {
    Enqueue,
    Claim,
    Renew(usize),
    Event(usize),
    Checkpoint(usize),
    Fail(usize, FailureCode),
    Release(usize),
    Publish(usize),
    FinishCancelled(usize),
    Cancel(usize),
    LeaseRunsOut(usize),
    Rescue,
    PausesPass,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let codes = [FailureCode::OutOfMemory, FailureCode::WorkerLost, FailureCode::Internal, FailureCode::Cancelled];
    let any = 0..8_usize;
    let step = prop_oneof![
        2 => Just(Step::Enqueue),
        6 => Just(Step::Claim),
        1 => any.clone().prop_map(Step::Renew),
        1 => any.clone().prop_map(Step::Event),
        1 => any.clone().prop_map(Step::Checkpoint),
        3 => (any.clone(), proptest::sample::select(codes.to_vec())).prop_map(|(i, code)| Step::Fail(i, code)),
        1 => any.clone().prop_map(Step::Release),
        2 => any.clone().prop_map(Step::Publish),
        1 => any.clone().prop_map(Step::FinishCancelled),
        2 => any.clone().prop_map(Step::Cancel),
        3 => any.prop_map(Step::LeaseRunsOut),
        3 => Just(Step::Rescue),
        3 => Just(Step::PausesPass),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What the model knows of a job.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    id: Uuid,
    status: JobStatus,
    attempt: u32,
    retries: u32,
    crash_count: u32,
    token: i64,
    error: Option<FailureCode>,
    checkpoint: bool,
    /// Due to be claimed, where it is queued; its lease has run out, where it is held.
    due: bool,
    expired: bool,
}

impl Expected {
    fn held_by(&self, lease: &Lease) -> bool {
        self.id == lease.job_id && self.token == lease.token && matches!(self.status, Running | Cancelling)
    }

    fn ends(&mut self, status: JobStatus, error: Option<FailureCode>) {
        self.status = status;
        self.error = error;
        self.checkpoint = false;
    }

    fn waits(&mut self, due: bool) {
        self.status = Queued;
        self.due = due;
        self.expired = false;
    }

    fn is_lost(&mut self) {
        match (self.status, self.crash_count) {
            (Cancelling, _) => self.ends(Cancelled, None),
            (_, 3) => self.ends(Failed, Some(FailureCode::WorkerCrashed)),
            (_, crashes) => {
                self.crash_count += 1;
                self.waits(crashes == 0);
            }
        }
    }

    fn fails(&mut self, code: FailureCode) {
        match code {
            _ if self.status == Cancelling => self.ends(Cancelled, None),
            FailureCode::Cancelled => self.ends(Cancelled, None),
            FailureCode::WorkerLost => self.is_lost(),
            FailureCode::OutOfMemory if self.retries == 0 => {
                self.retries = 1;
                self.waits(false);
            }
            code => self.ends(Failed, Some(code)),
        }
    }
}

/// The real queue and the model, side by side.
struct Both<'a> {
    world: &'a World,
    model_id: Uuid,
    jobs: Vec<Expected>,
    leases: Vec<Lease>,
}

impl Both<'_> {
    /// A lease among all that ever were, with the job that it holds, where it still does.
    fn lease(&mut self, pick: usize) -> Option<(Lease, Option<&mut Expected>)> {
        let lease = *self.leases.get(pick % self.leases.len().max(1))?;
        Some((lease, self.jobs.iter_mut().find(|job| job.held_by(&lease))))
    }

    async fn take(&mut self, step: &Step) {
        let world = self.world;
        let mut conn = world.conn().await;
        match *step {
            Step::Enqueue => {
                let new = new_job(&json!({ "kind": "evaluate", "model_id": self.model_id }));
                world.enqueue_new(&new).await.unwrap();
                self.jobs.push(Expected {
                    id: new.id,
                    status: Queued,
                    attempt: 0,
                    retries: 0,
                    crash_count: 0,
                    token: 0,
                    error: None,
                    checkpoint: false,
                    due: true,
                    expired: false,
                });
            }
            Step::Claim => match queue::claim(&mut conn, Uuid::now_v7(), LEASE).await.unwrap() {
                None => {
                    assert!(!self.jobs.iter().any(|job| job.status == Queued && job.due), "a due job was not claimed");
                }
                Some(claim) => {
                    let job = self.jobs.iter_mut().find(|job| job.id == claim.lease.job_id).unwrap();
                    assert!(job.status == Queued && job.due, "claimed {job:?}");
                    job.status = Running;
                    job.attempt += 1;
                    job.token += 1;
                    assert_eq!((claim.attempt, claim.lease.token), (job.attempt, job.token));
                    self.leases.push(claim.lease);
                }
            },
            Step::Renew(pick) => {
                let Some((lease, held)) = self.lease(pick) else { return };
                let renewal = queue::renew(&mut conn, &lease, LEASE).await.unwrap();
                match (renewal, held) {
                    (queue::Renewal::Lost, None) => {}
                    (queue::Renewal::Held { cancel_requested, .. }, Some(job)) => {
                        assert_eq!(cancel_requested, job.status == Cancelling);
                        job.expired = false;
                    }
                    other => panic!("{other:?}"),
                }
            }
            Step::Event(pick) => {
                let Some((lease, held)) = self.lease(pick) else { return };
                let event = JobEvent { kind: "epoch".into(), message: String::new(), data: json!(null) };
                assert_held(queue::append_event(&mut conn, &lease, &event).await, held.is_some());
            }
            Step::Checkpoint(pick) => {
                let Some((lease, held)) = self.lease(pick) else { return };
                let files = world.checkpoint().await;
                assert_held(queue::save_checkpoint(&mut conn, &lease, &files).await, held.is_some());
                if let Some(job) = held {
                    job.checkpoint = true;
                }
            }
            Step::Fail(pick, code) => {
                let Some((lease, held)) = self.lease(pick) else { return };
                assert_held(queue::fail(&mut conn, &lease, &failure(code)).await, held.is_some());
                if let Some(job) = held {
                    job.fails(code);
                }
            }
            Step::Release(pick) => {
                let Some((lease, held)) = self.lease(pick) else { return };
                assert_held(queue::release(&mut conn, &lease).await, held.is_some());
                match held {
                    Some(job) if job.status == Cancelling => job.ends(Cancelled, None),
                    Some(job) => {
                        job.attempt -= 1;
                        job.waits(true);
                    }
                    None => {}
                }
            }
            Step::Publish(pick) => {
                let publication = world.publication().await;
                let Some((lease, held)) = self.lease(pick) else { return };
                let outcome = assert_held(queue::publish(&mut conn, &lease, &publication).await, held.is_some());
                if let (Some(job), Some(outcome)) = (held, outcome) {
                    let cancelled = job.status == Cancelling;
                    assert_eq!(outcome == PublishOutcome::Cancelled, cancelled);
                    job.ends(if cancelled { Cancelled } else { Succeeded }, None);
                }
            }
            Step::FinishCancelled(pick) => {
                let Some((lease, held)) = self.lease(pick) else { return };
                assert_held(queue::finish_cancelled(&mut conn, &lease).await, held.is_some());
                if let Some(job) = held {
                    job.ends(Cancelled, None);
                }
            }
            Step::Cancel(pick) => {
                let n = self.jobs.len().max(1);
                let Some(job) = self.jobs.get_mut(pick % n) else { return };
                queue::cancel(&mut conn, DEFAULT_TENANT, job.id).await.unwrap();
                match job.status {
                    Queued => job.ends(Cancelled, None),
                    Running => job.status = Cancelling,
                    _ => {}
                }
            }
            Step::LeaseRunsOut(pick) => {
                let Some((lease, Some(job))) = self.lease(pick) else { return };
                job.expired = true;
                world.lease_runs_out(&lease).await;
            }
            Step::Rescue => {
                world.rescue().await;
                let held = self.jobs.iter_mut().filter(|job| matches!(job.status, Running | Cancelling));
                held.filter(|job| job.expired).for_each(Expected::is_lost);
            }
            Step::PausesPass => {
                world.pauses_pass().await;
                self.jobs.iter_mut().for_each(|job| job.due = true);
            }
        }
    }

    async fn compare(&self) {
        let mut conn = self.world.conn().await;
        for expected in &self.jobs {
            let job = self.world.job(expected.id).await;
            let token: i64 = sqlx::query_scalar("select lease_token from jobs where id = $1")
                .bind(job.id)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
            let checkpoint = !queue::load_checkpoint(&mut conn, DEFAULT_TENANT, job.id).await.unwrap().is_empty();
            let found = Expected {
                id: job.id,
                status: job.status,
                attempt: job.attempt,
                retries: job.retries,
                crash_count: job.crash_count,
                token,
                error: job.error.as_ref().map(|error| error.code),
                checkpoint,
                due: expected.due,
                expired: expected.expired,
            };
            assert_eq!(found, *expected);

            let events = self.world.events(job.id).await;
            let numbers: Vec<i64> = events.iter().map(|event| event.seq).collect();
            assert_eq!(numbers, (1..=job.last_event_seq).collect::<Vec<_>>());
            let end = ["succeeded", "failed", "cancelled"];
            let ends = events.iter().filter(|event| end.contains(&event.event.kind.as_str())).count();
            let last = events.last().map(|event| event.event.kind.as_str());
            assert_eq!(ends, usize::from(job.status.is_finished()));
            if job.status.is_finished() {
                assert_eq!(last, Some(job.status.as_str()), "nothing follows the end");
            }

            let held = "select (select count(*) from job_inputs where job_id = $1) > 0";
            let inputs: bool = sqlx::query_scalar(held).bind(job.id).fetch_one(&mut *conn).await.unwrap();
            assert_eq!(inputs, !job.status.is_finished());
            let made = "select count(*) from models where job_id = $1";
            let models: i64 = sqlx::query_scalar(made).bind(job.id).fetch_one(&mut *conn).await.unwrap();
            assert_eq!(models, i64::from(job.status == Succeeded));
        }
    }
}

/// Asserts that a write took place where the lease is held and was refused where it is not.
fn assert_held<T>(result: Result<T, QueueError>, held: bool) -> Option<T> {
    match result {
        Ok(value) if held => Some(value),
        Err(QueueError::LeaseLost { .. }) if !held => None,
        Ok(_) => panic!("a stale lease was allowed to write"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn any_sequence_of_operations_leads_where_the_drawing_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, model_id) = runtime.block_on(async {
        let world = World::new().await;
        let model_id = world.model().await.id;
        (world, model_id)
    });
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            sqlx::query("delete from jobs").execute(&mut *world.conn().await).await.unwrap();
            let mut both = Both { world: &world, model_id, jobs: Vec::new(), leases: Vec::new() };
            for step in &steps {
                both.take(step).await;
                both.compare().await;
            }
        });
        Ok(())
    });
    // Dropping the world needs the runtime of its pool.
    runtime.block_on(async { drop(world) });
    outcome.unwrap();
}
