//! The object store: bytes by their SHA-256. An object is there as a whole or not at all, and never changes.
//!
//! A local folder:
//!
//! ```text
//! blobs/ab/ab12…   objects, by the first two digits of their SHA-256
//! spool/…          files on their way in, on the same file system
//! ```

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::error::StoreError;
use super::spool::{self, SpoolWriter, Spooled, copy_file};

/// Bytes of an object as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// The object store.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
}

impl Objects {
    /// Opens a local folder as object store, making it where it is not there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for folder in [root.join("blobs"), root.join("spool")] {
            std::fs::create_dir_all(&folder).map_err(|error| StoreError::io(&folder, error))?;
        }
        let root = root.canonicalize().map_err(|error| StoreError::io(root, error))?;
        let store = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), root })
    }

    /// Begins a spool file.
    pub async fn spool(&self) -> Result<SpoolWriter, StoreError> {
        SpoolWriter::create(&self.root.join("spool")).await
    }

    /// Copies a file into the spool. The file itself is never linked in: its writer may still hold it open.
    pub async fn spool_file(&self, path: &Path) -> Result<Spooled, StoreError> {
        copy_file(self.spool().await?, path).await
    }

    /// Whether the object is there.
    pub async fn contains(&self, sha256: &str) -> Result<bool, StoreError> {
        match self.store.head(&object_path(sha256)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The whole object.
    ///
    /// Errors: `ObjectMissing`, `Object`.
    pub async fn get(&self, sha256: &str) -> Result<ByteStream, StoreError> {
        self.get_with(sha256, GetOptions::default()).await
    }

    /// Part of an object.
    ///
    /// Errors: `ObjectMissing`, `Object` where the range begins behind the end.
    pub async fn get_range(&self, sha256: &str, range: Range<u64>) -> Result<ByteStream, StoreError> {
        self.get_with(sha256, GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() }).await
    }

    /// The whole object in memory; for reports and plans, not for models.
    pub async fn read(&self, sha256: &str) -> Result<Bytes, StoreError> {
        let chunks: Vec<Bytes> = self.get(sha256).await?.try_collect().await?;
        Ok(chunks.concat().into())
    }

    /// Where the object lies on this machine, so that it can be read without a copy. It must not be written to, and
    /// stays only as long as a row refers to it.
    pub fn local_path(&self, sha256: &str) -> PathBuf {
        self.root.join(object_path(sha256).as_ref())
    }

    /// Removes spool files whose process is dead. Returns how many.
    pub async fn sweep_spool(&self) -> Result<u64, StoreError> {
        let folder = self.root.join("spool");
        let swept = tokio::task::spawn_blocking(move || spool::sweep(&folder));
        swept.await.map_err(|error| StoreError::io(&self.root, io::Error::other(error)))?
    }

    /// Makes a spooled file an object. An object that is already there stays as it is.
    ///
    /// Only [`super::blob::store`] calls this, which announces the blob first.
    pub(super) async fn put(&self, spooled: Spooled) -> Result<(), StoreError> {
        let path = self.local_path(&spooled.blob().sha256);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        if tokio::fs::try_exists(&path).await.map_err(|error| StoreError::io(&path, error))? {
            return Ok(());
        }
        if !tokio::fs::try_exists(&folder).await.map_err(|error| StoreError::io(&folder, error))? {
            tokio::fs::create_dir_all(&folder).await.map_err(|error| StoreError::io(&folder, error))?;
            sync_folder(&self.root.join("blobs")).await?;
        }
        // The content is durable already, so the name never stands for half of it.
        tokio::fs::rename(spooled.path(), &path).await.map_err(|error| StoreError::io(&path, error))?;
        sync_folder(&folder).await
    }

    /// Removes an object; one that is not there is no error. Only the collector calls this, with the blob's row locked.
    pub(super) async fn delete(&self, sha256: &str) -> Result<(), StoreError> {
        match self.store.delete(&object_path(sha256)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn get_with(&self, sha256: &str, options: GetOptions) -> Result<ByteStream, StoreError> {
        match self.store.get_opts(&object_path(sha256), options).await {
            Ok(result) => Ok(result.into_stream().map_err(StoreError::from).boxed()),
            Err(object_store::Error::NotFound { .. }) => Err(StoreError::ObjectMissing { sha256: sha256.into() }),
            Err(error) => Err(error.into()),
        }
    }
}

fn object_path(sha256: &str) -> ObjectPath {
    let folder = sha256.get(..2).unwrap_or("__");
    ObjectPath::from_iter(["blobs", folder, sha256])
}

async fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(folder, error);
    tokio::fs::File::open(folder).await.map_err(io)?.sync_all().await.map_err(io)
}
