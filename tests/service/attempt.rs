//! The attempt process and its launcher: real processes, real signals. Where a test needs a process that lives, crashes
//! or fills memory on command, a shell script stands in for the program: the launcher cannot tell.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateur::attempt::death::Ending;
use secateur::attempt::launcher::{Attempt, Launcher, LauncherSettings, News};
use secateur::attempt::scratch::{Scratch, ScratchRoot};
use secateur::spec::attempt::{AttemptJob, AttemptMessage, Limits, ModelLimits, Task};
use secateur::spec::failure::FailureCode;
use uuid::Uuid;

const LIMITS: Limits = Limits { memory_bytes: 1 << 30, deadline_ms: 60_000, file_bytes: 1 << 30, open_files: 256 };

/// A launcher with a scratch directory of its own.
struct World {
    _folder: tempfile::TempDir,
    launcher: Launcher,
    scratch: Scratch,
    job: AttemptJob,
}

impl World {
    fn new(program: impl FnOnce(&Path) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(ScratchRoot::open(&folder.path().join("scratch")).unwrap());
        let settings = LauncherSettings {
            program: program(folder.path()),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            log_filter: "info".into(),
            drain_grace: Duration::from_secs(20),
            inspection: LIMITS,
            concurrent_inspections: 1,
        };
        let scratch = root.attempt(Uuid::now_v7(), 1).unwrap();
        let task = Task::InspectModel {
            file: "inputs/model.onnx".into(),
            data: BTreeMap::new(),
            limits: ModelLimits::default(),
        };
        let job = AttemptJob { task, limits: LIMITS, threads: 1, log_fields: std::collections::BTreeMap::new() };
        Self { launcher: Launcher::new(settings, root).unwrap(), _folder: folder, scratch, job }
    }

    /// The real program.
    fn real() -> Self {
        Self::new(|_| env!("CARGO_BIN_EXE_secateur").into())
    }

    /// A script in place of the program, working in the scratch directory.
    fn script(body: &str) -> Self {
        Self::new(|folder| {
            let path = folder.join("program");
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        })
    }

    async fn start(&self) -> Attempt {
        self.launcher.start(self.scratch.path(), &self.job).await.unwrap()
    }

    async fn ending(&self) -> Ending {
        end(&mut self.start().await).await
    }
}

async fn end(attempt: &mut Attempt) -> Ending {
    loop {
        if let News::Ended(ending) = attempt.next().await {
            return ending;
        }
    }
}

fn code(ending: Ending) -> FailureCode {
    match ending {
        Ending::Failed(failure) => failure.code,
        other => panic!("not a failure: {other:?}"),
    }
}

/// Waits for the first message of a script that says it is ready.
async fn ready(attempt: &mut Attempt) {
    let news = attempt.next().await;
    assert!(matches!(news, News::Message(AttemptMessage::Progress { .. })), "{news:?}");
}

const READY: &str = r#"echo '{"message":"progress","fraction":0.5}'"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_becomes_a_failure_with_its_reason() {
    let table = [
        ("kill -SEGV $$", FailureCode::RuntimeCrash),
        ("kill -ABRT $$", FailureCode::RuntimeCrash),
        (
            "echo \"terminate called after throwing an instance of 'std::bad_alloc'\" >&2; kill -ABRT $$",
            FailureCode::OutOfMemory,
        ),
        ("kill -KILL $$", FailureCode::WorkerLost),
        ("kill -XCPU $$", FailureCode::DeadlineExceeded),
        ("exit 3", FailureCode::Internal),
        (
            r#"echo '{"outcome":"failed","failure":{"code":"diverged","message":"NaN"}}' > outcome.json; kill -SEGV $$"#,
            FailureCode::Diverged,
        ),
    ];
    for (script, expected) in table {
        assert_eq!(code(World::script(script).ending().await), expected, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_a_process_that_ignores_signals() {
    let mut world = World::script("trap '' TERM; while :; do sleep 60; done");
    world.job.limits.deadline_ms = 300;
    let began = Instant::now();
    assert_eq!(code(world.ending().await), FailureCode::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_takes_the_whole_process_group_and_voids_the_outcome() {
    let world = World::script(&format!(
        "sleep 1000 & echo $! > sleeper; echo '{{\"outcome\":\"interrupted\"}}' > outcome.json; {READY}; wait"
    ));
    let mut attempt = world.start().await;
    ready(&mut attempt).await;
    let sleeper: u32 = fs::read_to_string(world.scratch.path().join("sleeper")).unwrap().trim().parse().unwrap();
    attempt.control().kill();
    assert_eq!(end(&mut attempt).await, Ending::Killed);
    gone(sleeper).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_the_checkpoint() {
    let world = World::script(&format!(
        r#"trap 'echo "{{\"message\":\"checkpoint\",\"directory\":\"7\"}}"; echo "{{\"outcome\":\"interrupted\"}}" > outcome.json; exit 0' TERM
        {READY}; while :; do sleep 0.05; done"#
    ));
    let mut attempt = world.start().await;
    ready(&mut attempt).await;
    attempt.control().terminate();
    assert_eq!(attempt.next().await, News::Message(AttemptMessage::Checkpoint { directory: "7".into() }));
    assert_eq!(attempt.next().await, News::Ended(Ending::Interrupted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_attempt_is_killed() {
    let world = World::script(&format!("{READY}; while :; do sleep 60; done"));
    let mut attempt = world.start().await;
    ready(&mut attempt).await;
    let process = attempt.process_id().unwrap();
    drop(attempt);
    gone(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_message_ends_the_attempt_and_voids_its_outcome() {
    let lines =
        ["echo 'not json'", r#"echo '{"message":"unheard of"}'"#, "head -c 2000000 /dev/zero | tr '\\0' x; echo"];
    for line in lines {
        let outcome = r#"{"outcome":"finished","model":null,"earlier":[],"report":"report.json","plan":null}"#;
        let world =
            World::script(&format!("echo '{outcome}' > outcome.json; {READY}; {line}; while :; do sleep 60; done"));
        let mut attempt = world.start().await;
        ready(&mut attempt).await;
        let Ending::Failed(failure) = end(&mut attempt).await else { panic!("not a failure: {line}") };
        assert_eq!(failure.code, FailureCode::Internal, "{line}");
        assert!(failure.message.contains("a message of the attempt was lost"), "{failure}");
    }
}

/// A real attempt whose job file is a pipe that nobody writes to: it waits for its job, alive.
fn waiting_attempt(folder: &Path) -> std::process::Child {
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("job.json"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    Command::new(env!("CARGO_BIN_EXE_secateur"))
        .args(["attempt", "--scratch"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn an_orphan_ends_when_its_lifeline_closes() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = waiting_attempt(folder.path());
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    assert!(!status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_child_inherits_no_secret() {
    let world = World::script(&format!("{READY}; while :; do sleep 60; done"));
    let mut attempt = world.start().await;
    ready(&mut attempt).await;
    let environment = fs::read(format!("/proc/{}/environ", attempt.process_id().unwrap())).unwrap();
    let variables = environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    let mut names: Vec<_> =
        variables.map(|variable| String::from_utf8_lossy(variable).split('=').next().unwrap().to_owned()).collect();
    names.sort();
    // This test's own environment has more, cargo's variables at least.
    assert_eq!(names, ["PATH", "TMPDIR"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_model_is_refused_by_the_real_child() {
    let world = World::real();
    let file = world.scratch.path().join("upload");
    fs::write(&file, "this is not a model").unwrap();
    let failure = world.launcher.inspect_model(&file, BTreeMap::new(), ModelLimits::default()).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::InvalidModel, "{failure}");
}

/// Waits until a process is gone or a zombie.
async fn gone(process: u32) {
    let until = Instant::now() + Duration::from_secs(20);
    let lives = || {
        let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    while lives() {
        assert!(Instant::now() < until, "process {process} still lives");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
