//! Follows one running child: pumps its pipes, sends it the signals that are due, and tells its end.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::death::{Death, Exit, Sent, classify};
use super::launcher::{News, Order};
use super::listener::{Listener, Unheard};
use super::{logs, outcome};

/// A sleep that never ends within the life of a machine.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// A started child with all that its supervision needs.
pub(super) struct Supervised {
    pub(super) child: Child,
    pub(super) scratch: PathBuf,
    pub(super) log_fields: BTreeMap<String, String>,
    pub(super) deadline: Duration,
    pub(super) drain_grace: Duration,
    /// How long nothing may come from the pipes of a dead process before they are left.
    pub(super) pipe_grace: Duration,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) news: mpsc::Sender<News>,
}

/// The task that hands out the child's messages, and how it ended once it has.
struct Messages {
    task: JoinHandle<Result<(), Unheard>>,
    heard: Option<Result<(), Unheard>>,
}

impl Messages {
    /// Waits until there are no more messages, each of them handed out.
    async fn end(&mut self) -> &Result<(), Unheard> {
        let heard = match self.heard.take() {
            Some(heard) => heard,
            None => (&mut self.task).await.unwrap_or(Err(Unheard::Abandoned)),
        };
        self.heard.insert(heard)
    }
}

impl Supervised {
    /// Runs until the child has ended and its end has been told.
    pub(super) async fn run(mut self) {
        let out_of_memory_kills = out_of_memory_kills();
        // Held open to the end: its closing is what ends an orphan.
        let lifeline = self.child.stdin.take();
        let exited = CancellationToken::new();
        let listener = Listener { news: self.news.clone(), exited: exited.clone(), grace: self.pipe_grace };
        let stdout = self.child.stdout.take();
        let mut messages = Messages {
            task: tokio::spawn(async move {
                match stdout {
                    Some(stdout) => listener.listen(stdout).await,
                    None => Ok(()),
                }
            }),
            heard: None,
        };
        let fields = std::mem::take(&mut self.log_fields);
        let logs =
            self.child.stderr.take().map(|stderr| tokio::spawn(async move { logs::relay(stderr, &fields).await }));

        let (status, sent) = self.wait(lifeline, &mut messages).await;
        exited.cancel();
        // For as long as the worker takes: the end is told behind everything that was told before it.
        let unheard = messages.end().await.as_ref().err().cloned();
        let tail = match logs {
            Some(logs) => timeout(self.pipe_grace, logs).await.ok().and_then(Result::ok).unwrap_or_default(),
            None => String::new(),
        };
        let death = Death {
            outcome: outcome::read(&self.scratch),
            exit: exit_of(&status),
            sent,
            unheard,
            tail,
            kernel_out_of_memory: self::out_of_memory_kills() > out_of_memory_kills,
        };
        // Nobody listens any more where the handle was dropped.
        let _ = self.news.send(News::Ended(classify(death))).await;
    }

    async fn wait(
        &mut self,
        lifeline: Option<ChildStdin>,
        messages: &mut Messages,
    ) -> (std::io::Result<ExitStatus>, Option<Sent>) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let mut sent = None;
        // Whichever comes first of the deadline and, once draining, the end of the grace period.
        let deadline = sleep_until(Instant::now() + self.deadline);
        let grace = sleep_until(Instant::now() + NEVER);
        tokio::pin!(deadline, grace);
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status,
                heard = messages.end(), if messages.heard.is_none() => {
                    // Whatever else it does is in vain.
                    if heard.is_err() {
                        signal_group(pid, Signal::KILL);
                    }
                }
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Stdio;

    use tokio::process::Command;
    use tokio::time::sleep;

    use super::*;
    use crate::attempt::death::Ending;
    use crate::spec::attempt::AttemptMessage;

    // The messages of a dead child had five seconds to reach a worker, of which a thousand wait at most: the rest was
    // dropped, and the end told.
    #[tokio::test]
    async fn all_that_a_dead_child_told_comes_before_its_end_however_slow_the_worker_is() {
        const MESSAGES: usize = 1800;
        let scratch = tempfile::tempdir().unwrap();
        let script = format!(
            r#"i=0; while [ $i -lt {MESSAGES} ]; do echo '{{"message":"checkpoint","directory":"'$i'"}}'; i=$((i + 1)); done
            echo '{{"outcome":"interrupted"}}' > outcome.json"#
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .current_dir(scratch.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let process = format!("/proc/{}", child.id().unwrap());
        let (news, mut heard) = mpsc::channel(1024);
        let (_orders, orders) = watch::channel(Order::Run);
        let pipe_grace = Duration::from_millis(20);
        let supervised = Supervised {
            child,
            scratch: scratch.path().to_path_buf(),
            log_fields: BTreeMap::new(),
            deadline: Duration::from_mins(1),
            drain_grace: Duration::from_secs(1),
            pipe_grace,
            orders,
            news,
        };
        tokio::spawn(supervised.run());
        // The worker is busy until the child is dead, and for long after that.
        while Path::new(&process).exists() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(20 * pipe_grace).await;

        for number in 0..MESSAGES {
            let told = News::Message(AttemptMessage::Checkpoint { directory: number.to_string() });
            assert_eq!(heard.recv().await, Some(told));
        }
        assert_eq!(heard.recv().await, Some(News::Ended(Ending::Interrupted)));
    }
}
