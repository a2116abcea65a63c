//! The connection to PostgreSQL: a pool for requests, single connections for what must not wait behind them.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use super::error::StoreError;

/// The migrations, embedded in the program.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The oldest server that the schema runs on (`unique nulls not distinct`).
const OLDEST_SERVER: u32 = 15;

/// PostgreSQL, where all state is kept.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    options: PgConnectOptions,
}

impl Database {
    /// Opens a pool of at most `max_connections` on `url` and checks that the server answers and is not too old.
    ///
    /// Errors: `Database` when the server cannot be reached, `ServerTooOld`.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        Self::connect_with(PgConnectOptions::from_str(url)?, max_connections).await
    }

    /// As [`Database::connect`], with options instead of a URL.
    pub async fn connect_with(options: PgConnectOptions, max_connections: u32) -> Result<Self, StoreError> {
        // The migrator's notices that something is there already are no news.
        let options = options.application_name("secateur").options([("client_min_messages", "warning")]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(10))
            // A future that is dropped while it begins a transaction (a client went away, a job was cancelled) may leave
            // it open on a connection that counts as idle; the next user's writes would vanish in it.
            .after_release(|conn, _| Box::pin(async move { end_transaction(conn).await.map(|()| true) }))
            .connect_with(options.clone())
            .await?;
        let found = sqlx::query_scalar!(r#"select current_setting('server_version_num')::integer / 10000 as "major!""#)
            .fetch_one(&pool)
            .await?;
        let found = u32::try_from(found).unwrap_or(0);
        if found < OLDEST_SERVER {
            return Err(StoreError::ServerTooOld { found, needed: OLDEST_SERVER });
        }
        Ok(Self { pool, options })
    }

    /// Brings the schema up to this program's version. Safe to run from several processes at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATOR.run(&self.pool).await?)
    }

    /// Whether requests can be served: the server answers and the schema is this program's.
    ///
    /// Errors: `Database`, `NotMigrated`.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let needed = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
        let migrated = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "there!""#)
            .fetch_one(&self.pool)
            .await?;
        // Not checked at compile time: the table is made by the migrator, not by a migration.
        let found: Option<i64> = if migrated {
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success").fetch_one(&self.pool).await?
        } else {
            None
        };
        // A newer schema is fine: migrations only add while an older program may still run.
        if found.is_none_or(|found| found < needed) {
            return Err(StoreError::NotMigrated { found, needed });
        }
        Ok(())
    }

    /// The pool, for requests and short transactions.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection outside the pool: leases are renewed on one, so that no crowd of requests delays them.
    pub async fn connection(&self) -> Result<PgConnection, StoreError> {
        Ok(self.options.connect().await?)
    }

    /// A listener with a connection of its own; it reconnects by itself.
    pub async fn listener(&self) -> Result<PgListener, StoreError> {
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.options.clone());
        Ok(PgListener::connect_with(&pool).await?)
    }

    /// Closes the pool once its connections are given back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Rolls back what a connection has open. Where nothing is, nothing is rolled back: the server would write a warning into
/// its log each time.
async fn end_transaction(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    // sqlx knows from the answer to any statement, an empty one too, whether a transaction is open, but tells in this way
    // only.
    match conn.begin_with("").await {
        Ok(open) => open.rollback().await,
        Err(sqlx::Error::BeginFailed) => Ok(()),
        Err(error) => Err(error),
    }
}
