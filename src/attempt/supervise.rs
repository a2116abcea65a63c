//! Follows one running child: pumps its pipes, sends it the signals that are due, and tells its end.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::death::{Death, Exit, Sent, classify};
use super::launcher::{News, Order};
use super::{logs, outcome};

/// Longest message that an attempt may write.
const MESSAGE_BYTES: u64 = 1 << 20;

/// How long the pipes of a dead process may stay open (held by something that it started) before they are left.
const PIPE_GRACE: Duration = Duration::from_secs(5);

/// A sleep that never ends within the life of a machine.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// A started child with all that its supervision needs.
pub(super) struct Supervised {
    pub(super) child: Child,
    pub(super) scratch: PathBuf,
    pub(super) log_fields: BTreeMap<String, String>,
    pub(super) deadline: Duration,
    pub(super) drain_grace: Duration,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) news: mpsc::Sender<News>,
}

impl Supervised {
    /// Runs until the child has ended and its end has been told.
    pub(super) async fn run(mut self) {
        let out_of_memory_kills = out_of_memory_kills();
        // Held open to the end: its closing is what ends an orphan.
        let lifeline = self.child.stdin.take();
        let messages = self.child.stdout.take().map(|stdout| tokio::spawn(relay_messages(stdout, self.news.clone())));
        let fields = std::mem::take(&mut self.log_fields);
        let logs =
            self.child.stderr.take().map(|stderr| tokio::spawn(async move { logs::relay(stderr, &fields).await }));

        let (status, sent) = self.wait(lifeline).await;
        if let Some(messages) = messages {
            let _ = timeout(PIPE_GRACE, messages).await;
        }
        let tail = match logs {
            Some(logs) => timeout(PIPE_GRACE, logs).await.ok().and_then(Result::ok).unwrap_or_default(),
            None => String::new(),
        };
        let death = Death {
            outcome: outcome::read(&self.scratch),
            exit: exit_of(&status),
            sent,
            tail,
            kernel_out_of_memory: self::out_of_memory_kills() > out_of_memory_kills,
        };
        // Nobody listens any more where the handle was dropped.
        let _ = self.news.send(News::Ended(classify(death))).await;
    }

    async fn wait(&mut self, lifeline: Option<ChildStdin>) -> (std::io::Result<ExitStatus>, Option<Sent>) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let mut sent = None;
        // Whichever comes first of the deadline and, once draining, the end of the grace period.
        let deadline = sleep_until(Instant::now() + self.deadline);
        let grace = sleep_until(Instant::now() + NEVER);
        tokio::pin!(deadline, grace);
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status,
                () = &mut deadline, if !matches!(sent, Some(Sent::Deadline | Sent::Kill)) => {
                    sent = Some(Sent::Deadline);
                    signal_group(pid, Signal::KILL);
                }
                () = &mut grace, if sent == Some(Sent::Drain) => {
                    grace.as_mut().reset(Instant::now() + NEVER);
                    signal_group(pid, Signal::KILL);
                }
                changed = self.orders.changed(), if sent != Some(Sent::Kill) => {
                    // A handle that is gone orders nothing any more: what it started must not outlive it.
                    let order = if changed.is_ok() { *self.orders.borrow_and_update() } else { Order::Kill };
                    match order {
                        Order::Kill => {
                            sent = Some(Sent::Kill);
                            signal_group(pid, Signal::KILL);
                        }
                        Order::Drain if sent.is_none() => {
                            sent = Some(Sent::Drain);
                            grace.as_mut().reset(Instant::now() + self.drain_grace);
                            if let Some(pid) = pid {
                                let _ = kill_process(pid, Signal::TERM);
                            }
                        }
                        Order::Drain | Order::Run => {}
                    }
                }
            }
        };
        drop(lifeline);
        (status, sent)
    }
}

/// The child leads a process group of its own. Its id cannot have been given to another process: it is not reaped
/// before `wait` returns, and no signal is sent after.
fn signal_group(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid {
        let _ = kill_process_group(pid, signal);
    }
}

async fn relay_messages(stdout: impl AsyncRead + Unpin, news: mpsc::Sender<News>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MESSAGE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(message) => {
                // Read on where nobody listens, so that the child does not block on a full pipe.
                let _ = news.send(News::Message(message)).await;
            }
            Err(error) => warn!("An attempt told something that is no message: {error}"),
        }
    }
}

fn exit_of(status: &std::io::Result<ExitStatus>) -> Exit {
    match status {
        // A status that cannot be read: as if the process had been taken away.
        Err(_) => Exit::Signal(Signal::KILL.as_raw()),
        Ok(status) => match status.signal() {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Code(status.code().unwrap_or_default()),
        },
    }
}

/// How often the kernel has killed a process for memory since the machine started.
fn out_of_memory_kills() -> u64 {
    let Ok(counters) = fs::read_to_string("/proc/vmstat") else { return 0 };
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or_default()
}
