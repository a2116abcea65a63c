//! What the attempts on one machine share where latency is measured: a lock that tells whether others are at work, and the
//! tables of what was measured before.
//!
//! ```text
//! <folder>/at-work.lock          held shared (flock) by every attempt, alone by one that measures
//! <folder>/beside.lock           held shared by attempts that did not wait for a measurement to end
//! <folder>/latency-<hash>.txt    one table for each library, processor and number of threads
//! ```
//!
//! Knows nothing of models. Who measures is told whether the machine was its own; who measures waits for others for ten
//! seconds at most, who starts waits for a measurement for a minute at most, and both go on then.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::LatencyTable;

/// How long others at work are waited for. Pruning and evaluating often end within it; a retraining does not, and its end
/// cannot be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an attempt that starts waits for a measurement, which a search with many rounds may outlast.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often it is looked whether the others have ended.
const LOOK: Duration = Duration::from_millis(50);

/// The folder that attempts on this machine share; none where one works by itself.
#[derive(Debug)]
pub struct Host {
    shared: Option<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Held shared; the kernel lets it go when the process ends, whatever ends it.
    at_work: Mutex<File>,
    /// Whether others work beside a measurement; held shared by one that does.
    beside: File,
}

/// The machine while latency is measured: others wait at their start until this is dropped.
#[derive(Debug)]
pub struct Quiet<'a> {
    /// `None` where others are at work all the same.
    held: Option<&'a Shared>,
}

impl Host {
    /// Nothing is shared: tables live as long as the process, and others are not known of.
    pub fn alone() -> Self {
        Self { shared: None }
    }

    /// Says that this process is at work on the machine; waits for a measurement that is going on, but not for long.
    ///
    /// Errors: the folder or the locks cannot be made.
    pub fn join(folder: &Path) -> io::Result<Self> {
        Self::join_within(folder, LONGEST_WAIT)
    }

    fn join_within(folder: &Path, longest: Duration) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let open = |name: &str| OpenOptions::new().create(true).append(true).open(folder.join(name));
        let (lock, beside) = (open("at-work.lock")?, open("beside.lock")?);
        let start = Instant::now();
        while flock(&lock, FlockOperation::NonBlockingLockShared).is_err() {
            if start.elapsed() >= longest {
                flock(&beside, FlockOperation::LockShared)?;
                break;
            }
            std::thread::sleep(LOOK);
        }
        Ok(Self { shared: Some(Shared { folder: folder.to_path_buf(), at_work: Mutex::new(lock), beside }) })
    }

    /// Asks for the machine: waits for others for a while, then goes on beside them.
    pub fn quiet(&self) -> Quiet<'_> {
        let Some(shared) = &self.shared else { return Quiet { held: None } };
        let start = Instant::now();
        loop {
            {
                let lock = shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
                if flock(&*lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    return Quiet { held: Some(shared) };
                }
                // Asking has let the shared lock go; two who ask at the same time cannot wait for each other so.
                let _ = flock(&*lock, FlockOperation::LockShared);
            }
            if start.elapsed() >= PATIENCE {
                return Quiet { held: None };
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What was measured before on this processor, under conditions such as the library's version and threads.
    pub fn table(&self, conditions: &str) -> LatencyTable {
        let folder = self.shared.as_ref().map(|shared| shared.folder.as_path());
        LatencyTable::open(folder, &format!("{}, {conditions}", processor()))
    }
}

impl Quiet<'_> {
    /// Whether no other attempt is at work, and none went on that had waited for this one.
    pub fn is_alone(&self) -> bool {
        let Some(shared) = self.held else { return false };
        // Asking for it alone tells whether somebody has it; nothing is kept.
        let is_free = flock(&shared.beside, FlockOperation::NonBlockingLockExclusive).is_ok();
        is_free && flock(&shared.beside, FlockOperation::Unlock).is_ok()
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.held {
            let lock = shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = flock(&*lock, FlockOperation::LockShared);
        }
    }
}

/// The processor as it names itself.
pub fn processor() -> String {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_measures_has_the_machine_alone_and_others_join_when_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let measuring = Host::join(folder.path()).unwrap();
        let quiet = measuring.quiet();
        assert!(quiet.is_alone());
        let lock = OpenOptions::new().append(true).open(folder.path().join("at-work.lock")).unwrap();
        assert!(flock(&lock, FlockOperation::NonBlockingLockShared).is_err(), "an attempt that starts waits");
        drop(quiet);
        flock(&lock, FlockOperation::NonBlockingLockShared).unwrap();
    }

    #[test]
    fn who_does_not_wait_longer_is_known_to_the_one_that_measures() {
        let folder = tempfile::tempdir().unwrap();
        let measuring = Host::join(folder.path()).unwrap();
        let quiet = measuring.quiet();
        assert!(quiet.is_alone());
        let beside = Host::join_within(folder.path(), Duration::ZERO).unwrap();
        assert!(!quiet.is_alone());
        drop(beside);
        assert!(quiet.is_alone());
    }

    #[test]
    fn by_itself_nothing_is_known_of_others() {
        assert!(!Host::alone().quiet().is_alone());
    }
}
