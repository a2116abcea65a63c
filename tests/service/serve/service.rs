//! A service in a process of its own, on a data directory that outlives it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::app::expect;

/// The data directory of a test; what still runs on it is ended with the test.
pub struct DataDir(tempfile::TempDir);

impl DataDir {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The unprivileged user of PostgreSQL has to pass, where the tests run as root.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("an open folder");
        Self(folder)
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// The process of the private PostgreSQL, where it runs.
    pub fn postmaster(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.path().join("postgres/data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok().filter(|pid| lives(*pid))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if let Some(postmaster) = self.postmaster() {
            // Immediately: nothing of it is needed any more.
            signal(postmaster, Signal::QUIT);
        }
    }
}

/// A running service.
pub struct Service {
    pub child: Child,
    pub client: Client,
    url: String,
}

pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--threads", "1", "--checkpoint-interval", "200ms", "--data-dir"])
        .arg(data)
        .env_remove("DATABASE_URL");
    command
}

impl Service {
    pub fn start(data: &Path) -> Self {
        Self::start_with(command(data))
    }

    pub fn start_with(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the service starts");
        let mut log = BufReader::new(child.stderr.take().expect("a piped error output"));
        // Read to the end, so that it never blocks; the test's output has it where a test fails.
        let log = std::thread::spawn(move || {
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|n| n > 0) {
                eprint!("{line}");
                line.clear();
            }
        });
        let stdout = BufReader::new(child.stdout.take().expect("a piped output"));
        let url =
            stdout.lines().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()));
        let Some(url) = url else {
            log.join().expect("the log was read");
            panic!("the service did not start");
        };
        Self { child, client: Client::new(), url }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits until it has.
    pub fn stop(mut self) {
        signal(self.pid(), Signal::TERM);
        let status = self.child.wait().expect("the service ends");
        assert!(status.success(), "{status}");
    }

    /// Ends it at once, and nothing else.
    pub fn kill(mut self) {
        self.child.kill().expect("the service is killed");
        self.child.wait().expect("the service ends");
    }

    /// The process of the attempt that runs, where one does.
    pub fn attempt(&self) -> Option<u32> {
        processes().find(|pid| {
            let parent = stat(*pid).and_then(|stat| stat.split(' ').nth(1)?.parse().ok());
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            parent == Some(self.pid()) && arguments.split(|byte| *byte == 0).any(|argument| argument == b"attempt")
        })
    }

    /// Uploads the model and the training set of the digits example; returns their ids.
    pub async fn digits(&self) -> (String, String) {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
        let upload = async |path: &str, file: &str| {
            let body = std::fs::read(examples.join(file)).expect("the example");
            let response = self.client.post(format!("{}{path}", self.url)).body(body).send().await.expect("an answer");
            id(&expect(response, StatusCode::CREATED).await)
        };
        (upload("/v1/models", "digits.onnx").await, upload("/v1/datasets", "digits-train.npz").await)
    }

    /// Queues a short retraining; returns its id.
    pub async fn retrain(&self, digits: &(String, String)) -> String {
        let spec = json!({"epochs": 6, "batch_size": 64, "optimizer": {"kind": "sgd", "learning_rate": 0.05}});
        self.retrain_with(digits, spec, None).await
    }

    /// Queues a retraining; returns its id.
    pub async fn retrain_with(
        &self,
        (model, dataset): &(String, String),
        spec: Value,
        deadline: Option<u32>,
    ) -> String {
        let request = json!({
            "kind": "retrain", "model_id": model, "dataset_id": dataset, "spec": spec, "deadline_seconds": deadline,
        });
        let response =
            self.client.post(format!("{}/v1/jobs", self.url)).json(&request).send().await.expect("an answer");
        id(&expect(response, StatusCode::ACCEPTED).await)
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        expect(response, StatusCode::OK).await
    }

    pub async fn cancel(&self, job: &str) {
        let response = self.client.post(format!("{}/v1/jobs/{job}/cancel", self.url)).send().await.expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
    }

    /// Waits until the job is as the test wants it, two minutes at most.
    pub async fn until(&self, job: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let found = self.get(&format!("/v1/jobs/{job}")).await;
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < until, "{what}: {found:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn ended(&self, job: &str) -> Value {
        self.until(job, "it ends", |job| !job["finished_at"].is_null()).await
    }

    /// SHA-256 of the model that a job made.
    pub async fn output(&self, job: &Value) -> String {
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let id = job["output_model_id"].as_str().expect("a model was made");
        let response = self.client.get(format!("{}/v1/models/{id}/content", self.url)).send().await.expect("an answer");
        hex::encode(Sha256::digest(response.bytes().await.expect("the model")))
    }

    /// Kinds of the job's events.
    pub async fn history(&self, job: &str) -> Vec<String> {
        let page = self.get(&format!("/v1/jobs/{job}/events?limit=100")).await;
        let items = page["items"].as_array().expect("a page");
        items.iter().map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn id(resource: &Value) -> String {
    resource["id"].as_str().expect("an id").to_owned()
}

pub fn signal(pid: u32, signal: Signal) {
    // One that has just ended needs no signal.
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("a process id"), signal);
}

pub fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.starts_with('Z'))
}

/// `/proc/<pid>/stat` from the state on.
fn stat(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .expect("a list of processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
