//! Kills of a worker that is a process of its own. Each has a folder of its own with nothing but the object store in
//! common, as on another machine: nobody can see that it is dead, so that its lease has to run out.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::moments::Moments;
use super::small_job::{REPEATABLE, SmallJob};
use crate::support::service::{Service, WorkerProcess};

/// Shorter than a user would choose, so that the test does not wait for long.
const LEASE: [&str; 2] = ["--lease", "2s"];

/// Starts workers on one machine after the other.
struct Machines<'a> {
    service: &'a Service,
    started: u32,
}

impl Machines<'_> {
    fn next_worker(&mut self) -> WorkerProcess {
        self.started += 1;
        let folder: PathBuf = self.service.folder().join(format!("machine-{}", self.started));
        std::fs::create_dir(&folder).expect("a folder");
        symlink(self.service.data_dir().join("objects"), folder.join("objects")).expect("a link");
        let arguments = [&REPEATABLE[..], &LEASE[..]].concat();
        self.service.worker(&folder, &arguments)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_any_moment_costs_the_result_nothing() {
    let service = Service::start(&["--workers", "0"]).await;
    let mut machines = Machines { service: &service, started: 0 };
    let mut worker = machines.next_worker();
    let small = SmallJob::prepare(&service).await;
    let mut moments = Moments::new();
    let mut kills = 0;
    while kills < 6 {
        let job = small.submit(&service).await;
        for _ in 0..2 {
            service.attempt_pid(&job).await;
            moments.pass(small.duration / 2).await;
            worker.kill();
            worker = machines.next_worker();
        }
        // A job that was faster than the moment does not count.
        kills += small.ends_the_same(&service, &job).await["attempt"].as_u64().expect("a number") - 1;
    }
}
