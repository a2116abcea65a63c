//! The data directory: where its parts lie, and who may use it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{geteuid, getpid};

/// A data directory that exists.
#[derive(Clone, Debug)]
pub(super) struct DataDir {
    path: PathBuf,
}

/// Keeps other services out for as long as it lives. The lock is the kernel's: it goes with the process, however that
/// ends.
#[derive(Debug)]
pub(super) struct DataDirLock {
    _file: File,
}

impl DataDir {
    /// `/var/lib/secateur` for root, whose home no unprivileged PostgreSQL can enter; else under the user's data home.
    pub(super) fn default_path(data_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf> {
        if geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/secateur"));
        }
        let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(data_home)
            .or_else(|| absolute(home).map(|home| home.join(".local/share")))
            .map(|base| base.join("secateur"))
            .context("neither XDG_DATA_HOME nor HOME is set; name a folder with --data-dir")
    }

    /// Makes the directory where it does not exist.
    pub(super) fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("making the data directory {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("opening the data directory {}", path.display()))?;
        Ok(Self { path })
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.path.join("postgres")
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Takes the directory for this process.
    ///
    /// Errors: another service has it; the message names its process.
    pub(super) fn lock(&self) -> Result<DataDirLock> {
        let path = self.path.join("lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            bail!(
                "the data directory {} is in use by {holder}; stop it first, or name another folder with --data-dir",
                self.path.display()
            );
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", getpid().as_raw_nonzero())?;
        Ok(DataDirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first_ones_process() {
        let root = tempfile::tempdir().unwrap();
        let directory = DataDir::open(root.path()).unwrap();
        let first = directory.lock().unwrap();
        let error = directory.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        directory.lock().unwrap();
    }

    #[test]
    fn a_relative_data_home_is_passed_over() {
        if geteuid().is_root() {
            return;
        }
        let path = DataDir::default_path(Some("relative".into()), Some("/home/someone".into())).unwrap();
        assert_eq!(path, Path::new("/home/someone/.local/share/secateur"));
    }
}
