//! The child's side of the message pipe: an observer that writes one line of JSON a message.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::spec::attempt::AttemptMessage;
use crate::spec::observer::Observer;

/// Progress is for people: more than ten a second would only fill the pipe.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Writes messages to what was standard output.
#[derive(Debug)]
pub(super) struct Reporter {
    pipe: Mutex<Pipe>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Pipe {
    file: File,
    fraction: f64,
    told_at: Option<Instant>,
}

impl Reporter {
    /// Takes standard output for itself and points the descriptor at standard error, so that a stray `printf` of a
    /// native library cannot break the protocol.
    pub(super) fn take_stdout(stop: Arc<AtomicBool>) -> io::Result<Self> {
        let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        Ok(Self { pipe: Mutex::new(Pipe { file: File::from(own), fraction: 0.0, told_at: None }), stop })
    }
}

impl Pipe {
    /// Whether this message goes out: progress only when it rises and not too often.
    fn admits(&mut self, message: &AttemptMessage) -> bool {
        let AttemptMessage::Progress { fraction } = message else { return true };
        let soon = self.told_at.is_some_and(|told_at| told_at.elapsed() < PROGRESS_INTERVAL);
        let admitted = *fraction > self.fraction && (!soon || *fraction >= 1.0);
        if admitted {
            self.fraction = *fraction;
            self.told_at = Some(Instant::now());
        }
        admitted
    }
}

impl Observer for Reporter {
    fn tell(&self, message: AttemptMessage) {
        let mut pipe = self.pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !pipe.admits(&message) {
            return;
        }
        // A message is plain data that always has a JSON form; a broken pipe means that the parent is gone, and then
        // the lifeline ends this process.
        if let Ok(mut line) = serde_json::to_vec(&message) {
            line.push(b'\n');
            let _ = pipe.file.write_all(&line);
        }
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
