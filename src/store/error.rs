//! Why the store could not do what it was asked.

use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A kind of row that is asked for by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Model,
    Dataset,
    Job,
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Job => "job",
        })
    }
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row; rows of another tenant are not there either.
    #[error("there is no {what} {id}")]
    NotFound { what: Resource, id: Uuid },
    /// An unfinished job uses it.
    #[error("{what} {id} is in use by an unfinished job")]
    InUse { what: Resource, id: Uuid },
    /// No room on the disk or in the object store; nothing was stored.
    #[error("no room is left in {}", path.display())]
    StorageFull { path: PathBuf },
    /// The blob was collected before it was referred to: more than the grace period lies between storing and linking.
    /// Storing it again repairs it.
    #[error("blob {sha256} is not stored (any more)")]
    BlobMissing { sha256: String },
    /// The object that a row refers to is not in the object store.
    #[error("object {sha256} is missing from the object store")]
    ObjectMissing { sha256: String },
    /// The request that this one belongs to was overtaken by a repetition of it.
    #[error("the request with this idempotency key was taken over by another")]
    KeyTakenOver,
    /// The file changed while it was read.
    #[error("{} changed while it was stored", path.display())]
    FileChanged { path: PathBuf },
    /// The server is older than what the migrations need.
    #[error("PostgreSQL {found} is too old, {needed} is needed")]
    ServerTooOld { found: u32, needed: u32 },
    /// The database's schema is not the one this program was built for.
    #[error("the database is at migration {found:?}, this program needs {needed}; run `secateur migrate`")]
    NotMigrated { found: Option<i64>, needed: i64 },
    #[error("{}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the object store failed")]
    Object(#[from] object_store::Error),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("migrating the database failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("a value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl StoreError {
    /// An error of the file system at `path`; a full disk or quota is told apart.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { path: path.to_owned() }
            }
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    /// Whether the database's own disk is full, by SQLSTATE `disk_full`.
    pub(crate) fn is_disk_full(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("53100"))
    }

    /// Whether a database error is the violation of the named constraint.
    pub(crate) fn violates(error: &sqlx::Error, constraint: &str) -> bool {
        error.as_database_error().is_some_and(|error| error.constraint() == Some(constraint))
    }
}

/// What a server says that answers with an SQLSTATE, for tests of what that leads to.
#[cfg(test)]
#[derive(Debug, thiserror::Error)]
#[error("SQLSTATE {0}")]
pub(crate) struct SqlState(&'static str);

#[cfg(test)]
impl SqlState {
    pub(crate) fn error(code: &'static str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Self(code)))
    }
}

#[cfg(test)]
impl sqlx::error::DatabaseError for SqlState {
    fn message(&self) -> &str {
        self.0
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}
