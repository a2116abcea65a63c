//! Starts processes from one permanent thread.
//!
//! A child's tie to its parent (`PR_SET_PDEATHSIG`) follows the thread that started it: from a pooled thread, the child
//! would be killed when the pool lets that thread go. This thread lives as long as the launcher.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Request {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Handle to the thread; the thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    pub(super) fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        thread::Builder::new().name("attempt-spawner".into()).spawn(move || {
            for Request { mut command, runtime, reply } in inbox {
                let _entered = runtime.enter();
                // A caller that went away leaves a child without lifeline, which ends itself.
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts `command`; the child belongs to the runtime of the caller.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| io::Error::other("the thread that starts attempts is gone");
        self.requests
            .send(Request { command, runtime: Handle::current(), reply })
            .map_err(|_| io::Error::other("the thread that starts attempts is gone"))?;
        answer.await.map_err(gone)?
    }
}
