//! `outcome.json`: written once, whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::spec::attempt::AttemptOutcome;

const NAME: &str = "outcome.json";

/// Writes the outcome; whoever comes first has the word (the task's end, or the watchdog).
#[derive(Debug)]
pub(super) struct OutcomeFile {
    scratch: PathBuf,
    taken: AtomicBool,
}

impl OutcomeFile {
    pub(super) fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_path_buf(), taken: AtomicBool::new(false) }
    }

    /// Writes `outcome` unless another thread already did; returns whether this call was the first.
    pub(super) fn write(&self, outcome: &AttemptOutcome) -> io::Result<bool> {
        if self.taken.swap(true, Ordering::SeqCst) {
            return Ok(false);
        }
        write(&self.scratch, outcome).map(|()| true)
    }
}

/// A file under a temporary name, synced, then renamed: a reader sees all of it or none.
fn write(scratch: &Path, outcome: &AttemptOutcome) -> io::Result<()> {
    let temporary = scratch.join("outcome.json.partial");
    let mut file = File::create(&temporary)?;
    serde_json::to_writer(&mut file, outcome)?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&temporary, scratch.join(NAME))
}

/// The outcome that an ended attempt left; `None` where it left none or the file is damaged.
pub fn read(scratch: &Path) -> Option<AttemptOutcome> {
    let bytes = fs::read(scratch.join(NAME)).ok()?;
    serde_json::from_slice(&bytes).ok()
}
