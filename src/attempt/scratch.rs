//! Scratch directories and who they belong to.
//!
//! ```text
//! <root>/<owner>.lock          held (flock) by the process that owns <owner>/ for as long as it lives
//! <root>/<owner>/<job>-<token> one attempt
//! <root>/<owner>/inspect-<id>  one look into an upload
//! <root>/host/                 what all attempts on this machine share; outlives them
//! ```
//!
//! The lock is the kernel's, so it cannot be stale: whoever gets it knows that the owner is dead, whatever killed it and
//! whoever has its process id now. The owner's id is also the worker id on the leases that this process takes, so a dead
//! owner's id names the leases that nobody renews any more.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// The scratch directories of this process.
#[derive(Debug)]
pub struct ScratchRoot {
    root: PathBuf,
    owner: Uuid,
    directory: PathBuf,
    _lock: File,
}

/// One scratch directory, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(path: PathBuf) -> io::Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept when this process has ended.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl ScratchRoot {
    /// Makes this process the owner of a new directory under `root`, under a new id.
    ///
    /// Errors: the directory or its lock cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let owner = Uuid::now_v7();
        // The lock is taken under a name that no sweep looks at, and then given its own: a sweep that comes between
        // making and locking would otherwise take it for a dead owner's.
        let pending = root.join(format!("{owner}.pending"));
        let lock = File::create(&pending)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let directory = root.join(owner.to_string());
        fs::create_dir(&directory)?;
        fs::rename(&pending, root.join(format!("{owner}.lock")))?;
        Ok(Self { root: root.to_path_buf(), owner, directory, _lock: lock })
    }

    /// The id of this process, new at every start.
    pub fn owner(&self) -> Uuid {
        self.owner
    }

    /// The folder that the attempts of all owners share.
    pub fn host(&self) -> PathBuf {
        self.root.join("host")
    }

    /// The directory of one attempt: what a killed predecessor under the same token left is removed first.
    pub fn attempt(&self, job: Uuid, token: i64) -> io::Result<Scratch> {
        let path = self.directory.join(format!("{job}-{token}"));
        remove(&path)?;
        Scratch::create(path)
    }

    /// A directory for one look into an upload.
    pub(super) fn inspection(&self) -> io::Result<Scratch> {
        Scratch::create(self.directory.join(format!("inspect-{}", Uuid::now_v7())))
    }

    /// Owners whose process is dead. Their directories are still there; [`Self::remove_dead`] removes them.
    pub fn dead_owners(&self) -> io::Result<Vec<DeadOwner>> {
        let mut dead = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            let owner = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<Uuid>().ok());
            let Some(owner) = owner.filter(|owner| is_lock && *owner != self.owner) else { continue };
            let lock = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(lock) => lock,
                // Another sweep was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                dead.push(DeadOwner { id: owner, _lock: lock });
            }
        }
        Ok(dead)
    }

    /// Removes a dead owner's directories; after this its id is forgotten.
    pub fn remove_dead(&self, owner: &DeadOwner) -> io::Result<()> {
        remove(&self.root.join(owner.id.to_string()))?;
        match fs::remove_file(self.root.join(format!("{}.lock", owner.id))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for ScratchRoot {
    fn drop(&mut self) {
        // An orderly end leaves nothing; after any other end, the next process sweeps.
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_file(self.root.join(format!("{}.lock", self.owner)));
    }
}

/// A process that is no more, held so that no other process sweeps it at the same time.
#[derive(Debug)]
pub struct DeadOwner {
    id: Uuid,
    _lock: File,
}

impl DeadOwner {
    pub fn id(&self) -> Uuid {
        self.id
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_owner_is_never_swept() {
        let root = tempfile::tempdir().unwrap();
        let first = ScratchRoot::open(root.path()).unwrap();
        let second = ScratchRoot::open(root.path()).unwrap();
        assert!(first.dead_owners().unwrap().is_empty());
        assert!(second.dead_owners().unwrap().is_empty());
    }

    #[test]
    fn a_dead_owner_is_found_and_its_directories_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let dead = ScratchRoot::open(root.path()).unwrap();
        let id = dead.owner();
        let attempt = dead.attempt(Uuid::now_v7(), 1).unwrap();
        let left = attempt.path().to_path_buf();
        // As after kill -9: the descriptor is closed, and nothing is cleaned up.
        let ScratchRoot { _lock: lock, .. } = &dead;
        rustix::fs::flock(lock, FlockOperation::Unlock).unwrap();

        let next = ScratchRoot::open(root.path()).unwrap();
        let found = next.dead_owners().unwrap();
        assert_eq!(found.iter().map(DeadOwner::id).collect::<Vec<_>>(), [id]);
        next.remove_dead(&found[0]).unwrap();
        assert!(!left.exists());
        assert!(next.dead_owners().unwrap().is_empty());
    }

    #[test]
    fn an_orderly_end_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        drop(ScratchRoot::open(root.path()).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
