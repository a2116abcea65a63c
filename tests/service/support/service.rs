//! The real program as a user runs it: `secateur serve` with its private PostgreSQL, on a free port of the loopback, in a
//! folder of its own. Everything that a test started is ended and removed with it; the logs are printed where it fails.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, StatusCode};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::app::expect;
use super::process;

/// How long anything may take that a test waits for. Far above what it needs on a busy machine; only a defect gets there.
const PATIENCE: Duration = Duration::from_mins(5);

/// Pause between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(20);

/// A service on a folder of its own, which it shares with nobody; it runs, or is stopped for the moment.
pub struct Service {
    folder: TempDir,
    data_dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    client: Client,
    running: Option<Running>,
}

/// Where it listens, and its process.
struct Running {
    url: String,
    child: Child,
}

/// A `secateur worker` beside a service, with the same database and folder.
pub struct WorkerProcess {
    child: Child,
}

impl Service {
    /// Starts a service with its defaults and these arguments.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::new(arguments).started().await
    }

    /// A service that is still to be started.
    pub fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("secateur-").tempdir_in("/tmp").expect("a folder under /tmp");
        // Where this is root, PostgreSQL runs as another user and has to pass through here.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder that may be entered");
        let data_dir = folder.path().join("data");
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { folder, data_dir, arguments, environment: Vec::new(), client: Client::new(), running: None }
    }

    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts its data into a folder of this name.
    pub fn with_data_in(mut self, name: &str) -> Self {
        self.data_dir = self.folder.path().join(name);
        self
    }

    pub async fn started(mut self) -> Self {
        self.restart().await;
        self
    }

    /// Starts the service again on the same folder, after [`Self::stop`] or [`Self::kill_everything`].
    pub async fn restart(&mut self) {
        assert!(self.running.is_none(), "the service runs already");
        let mut child = self.serve().stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a piped output"));
        let mut line = String::new();
        let url = tokio::task::spawn_blocking(move || {
            stdout.read_line(&mut line).expect("what the service says");
            line.trim().strip_prefix("listening on ").map(str::to_owned)
        });
        match url.await.expect("a thread that reads") {
            Some(url) => self.running = Some(Running { url, child }),
            None => panic!("the service ended before it listened: {}", child.wait().expect("its status")),
        }
    }

    /// The command that [`Self::restart`] runs: a second one beside a running service is refused.
    pub fn serve(&self) -> Command {
        let mut command = self.program("serve", &self.data_dir, "service.log");
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command
    }

    /// Starts a worker that is a process of its own, on a folder that has this service's objects.
    pub fn worker(&self, data_dir: &Path, arguments: &[&str]) -> WorkerProcess {
        let mut command = self.program("worker", data_dir, "worker.log");
        command.args(["--database-url", &self.database_url()]).args(arguments).stdout(Stdio::null());
        WorkerProcess { child: command.spawn().expect("the program starts") }
    }

    /// A subcommand on a folder, with nothing in its environment that is meant for the tests or for another service.
    fn program(&self, subcommand: &str, data_dir: &Path, log: &str) -> Command {
        let log = File::options().create(true).append(true).open(self.folder.path().join(log)).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("SECATEUR_") || ["DATABASE_URL", "RUST_LOG"].contains(&text.as_ref()) {
                command.env_remove(&name);
            }
        }
        command.arg(subcommand).arg("--data-dir").arg(data_dir).stdin(Stdio::null()).stderr(log);
        command
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A folder that ends with the service, for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> &str {
        &self.running().url
    }

    /// The service's process.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the service runs")
    }

    /// The process of the private PostgreSQL, where it runs.
    pub fn postmaster(&self) -> Option<u32> {
        self.postmaster_file(0)?.parse().ok().filter(|pid| process::lives(*pid))
    }

    /// The address of the private PostgreSQL.
    pub fn database_url(&self) -> String {
        let socket = self.socket_folder().expect("PostgreSQL runs");
        format!("postgres://secateur@localhost/secateur?host={}", socket.display())
    }

    fn socket_folder(&self) -> Option<PathBuf> {
        self.postmaster_file(4).map(PathBuf::from)
    }

    /// A line of the file that PostgreSQL keeps while it runs.
    fn postmaster_file(&self, line: usize) -> Option<String> {
        let text = fs::read_to_string(self.postgres().join("postmaster.pid")).ok()?;
        text.lines().nth(line).map(|line| line.trim().to_owned())
    }

    fn postgres(&self) -> PathBuf {
        self.data_dir.join("postgres/data")
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url()))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url()))
    }

    /// Uploads a model's file; returns its id.
    pub async fn upload_model(&self, file: &Path, name: &str) -> String {
        self.upload("models", file, name, None).await
    }

    /// Uploads a dataset's file with its preprocessing; returns its id.
    pub async fn upload_dataset(&self, file: &Path, name: &str, preprocess: Option<Value>) -> String {
        self.upload("datasets", file, name, preprocess).await
    }

    async fn upload(&self, resource: &str, file: &Path, name: &str, preprocess: Option<Value>) -> String {
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut form = Form::new();
        // Before the file, which is looked into as soon as it has come.
        if let Some(preprocess) = preprocess {
            let part = Part::text(preprocess.to_string()).mime_str("application/json").expect("a media type");
            form = form.part("preprocess", part);
        }
        let request = self.post(&format!("/v1/{resource}")).query(&[("name", name)]);
        let request = request.multipart(form.part("file", Part::bytes(bytes).file_name("file")));
        id(&expect(request.send().await.expect("an answer"), StatusCode::CREATED).await)
    }

    /// Submits a job; returns its id.
    pub async fn submit(&self, request: &Value) -> String {
        let response = self.post("/v1/jobs").json(request).send().await.expect("an answer");
        id(&expect(response, StatusCode::ACCEPTED).await)
    }

    pub async fn job(&self, id: &str) -> Value {
        self.read(&format!("/v1/jobs/{id}")).await
    }

    /// Waits for the end of a job, whatever it is, as long as it gets on.
    pub async fn finished(&self, id: &str) -> Value {
        let (mut until, mut progress) = (Instant::now() + PATIENCE, Value::Null);
        loop {
            let request = self.get(&format!("/v1/jobs/{id}")).header("prefer", "wait=20");
            let job = expect(request.send().await.expect("an answer"), StatusCode::OK).await;
            if !job["finished_at"].is_null() {
                return job;
            }
            if job["progress"] != progress {
                progress = job["progress"].clone();
                until = Instant::now() + PATIENCE;
            }
            assert!(Instant::now() < until, "the job does not end: {job:#}");
        }
    }

    /// Waits for the end of a job, which must be a good one.
    pub async fn succeeded(&self, id: &str) -> Value {
        let job = self.finished(id).await;
        assert_eq!(job["status"], "succeeded", "{job:#}\n{:#?}", self.events(id).await);
        job
    }

    /// Waits until a job is as the test wants it.
    pub async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let job = self.job(id).await;
            if wanted(&job) {
                return job;
            }
            assert!(Instant::now() < until, "it did not happen: {what}: {job:#}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks for the end of a job; returns how it stands.
    pub async fn cancel(&self, id: &str) -> Value {
        let response = self.post(&format!("/v1/jobs/{id}/cancel")).send().await.expect("an answer");
        expect(response, StatusCode::ACCEPTED).await
    }

    /// The whole history of a job.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        self.every(&format!("/v1/jobs/{id}/events")).await
    }

    /// The models that a job has published.
    pub async fn models_of(&self, id: &str) -> Vec<Value> {
        let mut models = self.every("/v1/models").await;
        models.retain(|model| model["job_id"] == id);
        models
    }

    /// All items of a list, page by page.
    async fn every(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut page = self.read(&format!("{path}?limit=100")).await;
        loop {
            items.extend(page["items"].as_array().expect("a list").iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else { return items };
            page = self.read(&format!("{path}?limit=100&cursor={cursor}")).await;
        }
    }

    pub async fn report(&self, id: &str) -> Value {
        self.read(&format!("/v1/jobs/{id}/report")).await
    }

    /// A model's file.
    pub async fn download(&self, model_id: &str) -> Bytes {
        let response = self.get(&format!("/v1/models/{model_id}/content")).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.bytes().await.expect("the whole file")
    }

    /// The JSON of something that is there.
    pub async fn read(&self, path: &str) -> Value {
        expect(self.get(path).send().await.expect("an answer"), StatusCode::OK).await
    }

    /// Waits until it says that it is ready; until then it may only say that it cannot reach its database.
    pub async fn ready(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let response = self.get("/readyz").send().await.expect("an answer");
            if response.status() != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > until {
                assert_eq!(expect(response, StatusCode::OK).await["status"], "ok");
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The process that works on a job at this moment, whoever has started it.
    pub fn attempt_of(job_id: &str) -> Option<u32> {
        process::with_argument(&format!("/{job_id}-")).into_iter().find(|pid| process::lives(*pid))
    }

    /// Waits for a process that works on the job; none comes where the job ends before.
    pub async fn attempt_pid(&self, job_id: &str) -> Option<u32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(pid) = Self::attempt_of(job_id) {
                return Some(pid);
            }
            if !self.job(job_id).await["finished_at"].is_null() {
                return None;
            }
            assert!(Instant::now() < until, "nobody works on the job");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `kill -9` of the process that works on the job, if there is one; returns when it is gone.
    pub async fn kill_attempt(&self, job_id: &str) {
        if let Some(pid) = Self::attempt_of(job_id) {
            process::kill(pid);
            until_gone(&[pid]).await;
        }
    }

    /// Every process of this service: itself, its children, and all of its PostgreSQL.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = self.postgres_pids();
        if let Some(Running { child, .. }) = &self.running {
            pids.push(child.id());
            pids.extend(process::children_of(child.id()));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn postgres_pids(&self) -> Vec<u32> {
        process::working_in(&self.postgres())
    }

    /// `kill -9` of the service, its attempts and its PostgreSQL; returns when all are gone.
    pub async fn kill_everything(&mut self) {
        let mut pids = self.pids();
        let Running { mut child, .. } = self.running.take().expect("the service runs");
        while !pids.is_empty() {
            pids.iter().copied().for_each(process::kill);
            child.wait().expect("its status");
            until_gone(&pids).await;
            // One that was started at this moment was not in the list.
            pids = self.postgres_pids();
        }
    }

    /// `kill -9` of the service alone. Its attempts end by themselves, which is waited for; its PostgreSQL lives on.
    pub async fn kill_service(&mut self) {
        let Running { mut child, .. } = self.running.take().expect("the service runs");
        let mut attempts = process::children_of(child.id());
        attempts.retain(|pid| !self.postgres_pids().contains(pid));
        child.kill().expect("a service that runs");
        child.wait().expect("its status");
        until_gone(&attempts).await;
    }

    /// SIGTERM, as an init system sends it; returns when the service has ended.
    pub async fn stop(&mut self) -> ExitStatus {
        let Running { mut child, .. } = self.running.take().expect("the service runs");
        process::signal(child.id(), Signal::TERM);
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the service stops when it is told to");
        ended.expect("a thread that waits").expect("its status")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let socket = self.socket_folder();
        self.pids().into_iter().for_each(process::kill);
        if let Some(Running { mut child, .. }) = self.running.take() {
            let _ = child.wait();
        }
        // One that was started at this moment was not in the list. Its folder is removed next.
        let until = Instant::now() + Duration::from_secs(10);
        while !self.postgres_pids().is_empty() && Instant::now() < until {
            self.postgres_pids().into_iter().for_each(process::kill);
            std::thread::yield_now();
        }
        if let Some(socket) = socket {
            let _ = fs::remove_dir_all(socket);
        }
        if std::thread::panicking() {
            let logs = ["service.log", "worker.log"].map(|log| self.folder.path().join(log));
            for log in logs.into_iter().chain([self.data_dir.join("postgres.log")]) {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("── the end of {}:\n{}", log.display(), lines[lines.len().saturating_sub(80)..].join("\n"));
            }
        }
    }
}

impl WorkerProcess {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("a worker that runs");
        self.child.wait().expect("its status");
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until none of the processes is left.
async fn until_gone(pids: &[u32]) {
    let until = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| process::lives(*pid)) {
        assert!(Instant::now() < until, "a process does not end");
        tokio::time::sleep(LOOK).await;
    }
}

fn id(body: &Value) -> String {
    body["id"].as_str().expect("an id").to_owned()
}
