//! Content on its way into the object store: a file of its own, hashed while it is written, gone when it is dropped.
//!
//! The file is locked for as long as it is on its way. The lock is the kernel's and goes with the process, however that
//! ends: whoever gets it knows that the file is nobody's.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fstat};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::blob::BlobRef;
use super::error::StoreError;

/// Bytes read at a time when a file is hashed or copied; small against memory, large against a system call.
const CHUNK_BYTES: usize = 256 << 10;

/// A spool file that is being written.
#[derive(Debug)]
pub struct SpoolWriter {
    file: File,
    path: SpoolPath,
    hash: Sha256,
    size_bytes: u64,
}

impl SpoolWriter {
    pub(super) async fn create(folder: &Path) -> Result<Self, StoreError> {
        loop {
            let path = folder.join(Uuid::now_v7().simple().to_string());
            let io = |error| StoreError::io(&path, error);
            let file = File::create_new(&path).await.map_err(io)?;
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // A sweep that came between making and locking took it for a dead process's.
            if locked && fstat(&file).map_err(|error| io(error.into()))?.st_nlink > 0 {
                return Ok(Self { file, path: SpoolPath(path), hash: Sha256::new(), size_bytes: 0 });
            }
        }
    }

    /// Appends bytes.
    ///
    /// Errors: `StorageFull`, `Io`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(|error| StoreError::io(&self.path.0, error))
    }

    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes what was written durable and names it by its content.
    pub async fn finish(mut self) -> Result<Spooled, StoreError> {
        let io = |error| StoreError::io(&self.path.0, error);
        self.file.flush().await.map_err(io)?;
        self.file.sync_all().await.map_err(io)?;
        let blob = BlobRef { sha256: hex::encode(self.hash.finalize()), size_bytes: self.size_bytes };
        Ok(Spooled { blob, path: self.path, _lock: self.file })
    }
}

/// A complete spool file: durable, not yet an object.
#[derive(Debug)]
pub struct Spooled {
    blob: BlobRef,
    path: SpoolPath,
    _lock: File,
}

impl Spooled {
    /// SHA-256 and size of the content.
    pub fn blob(&self) -> &BlobRef {
        &self.blob
    }

    /// The file, to be read while this lives.
    pub fn path(&self) -> &Path {
        &self.path.0
    }
}

/// Removes its file when dropped; an error is left to the sweep of the spool folder.
#[derive(Debug)]
struct SpoolPath(PathBuf);

impl Drop for SpoolPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes the files of processes that are dead. Returns how many.
pub(super) fn sweep(folder: &Path) -> Result<u64, StoreError> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).map_err(|error| StoreError::io(folder, error))? {
        let path = entry.map_err(|error| StoreError::io(folder, error))?.path();
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            // Its owner was done with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io(&path, error)),
        };
        // Removed with the lock held, so that who is just making it finds it gone once it has the lock.
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && std::fs::remove_file(&path).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// SHA-256 and size of a file.
pub(super) async fn hash_file(path: &Path) -> Result<BlobRef, StoreError> {
    let mut chunks = Chunks::open(path).await?;
    let mut hash = Sha256::new();
    let mut size_bytes = 0;
    while let Some(bytes) = chunks.next().await? {
        hash.update(bytes);
        size_bytes += bytes.len() as u64;
    }
    Ok(BlobRef { sha256: hex::encode(hash.finalize()), size_bytes })
}

/// Copies a file into the spool.
pub(super) async fn copy_file(mut writer: SpoolWriter, path: &Path) -> Result<Spooled, StoreError> {
    let mut chunks = Chunks::open(path).await?;
    while let Some(bytes) = chunks.next().await? {
        writer.write(bytes).await?;
    }
    writer.finish().await
}

/// A file, piece by piece.
struct Chunks<'a> {
    path: &'a Path,
    file: File,
    buffer: Vec<u8>,
}

impl<'a> Chunks<'a> {
    async fn open(path: &'a Path) -> Result<Self, StoreError> {
        let file = File::open(path).await.map_err(|error| StoreError::io(path, error))?;
        Ok(Self { path, file, buffer: vec![0; CHUNK_BYTES] })
    }

    async fn next(&mut self) -> Result<Option<&[u8]>, StoreError> {
        let n = self.file.read(&mut self.buffer).await.map_err(|error| StoreError::io(self.path, error))?;
        Ok((n > 0).then(|| &self.buffer[..n]))
    }
}
