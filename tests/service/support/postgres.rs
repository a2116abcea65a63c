//! A database for each test, made from a migrated template and dropped with the test.
//!
//! The server is the one of `DATABASE_URL` (of a superuser), or a private one, started once for the process on a Unix
//! socket under `/tmp`, without durability. A small shell script owns it, waits on a pipe that only this process holds
//! open, and stops and removes the server when the pipe closes: however this process ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use secateur::store::database::Database;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// A migrated, empty database of its own.
#[derive(Debug)]
pub struct TestDatabase {
    pub database: Database,
    name: String,
}

impl TestDatabase {
    /// Makes a database.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("secateur_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let server = &*SERVER;
        let mut admin = server.options.connect().await.expect("the test server answers");
        execute(&mut admin, format!("create database {name} template {}", server.template)).await;
        admin.close().await.expect("a connection closes");
        let options = server.options.clone().database(&name);
        let database = Database::connect_with(options, 8).await.expect("the new database answers");
        Self { database, name }
    }

    /// The database's address, for another process.
    pub fn url(&self) -> String {
        SERVER.options.clone().database(&self.name).to_url_lossy().into()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        on_a_thread(async move {
            // A test that already fails should not fail twice.
            if let Ok(mut admin) = SERVER.options.connect().await {
                let _ = sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await;
            }
        });
    }
}

/// The server of this process.
struct Server {
    options: PgConnectOptions,
    template: String,
    /// The shell of a private server. Its input is open as long as this process lives; that it closes is what stops the
    /// server.
    _keeper: Option<Child>,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let (options, keeper) = if let Ok(url) = std::env::var("DATABASE_URL") {
        (PgConnectOptions::from_str(&url).expect("DATABASE_URL is a PostgreSQL URL"), None)
    } else {
        let (options, keeper) = start();
        (options, Some(keeper))
    };
    let template = format!("secateur_{}_template", std::process::id());
    let (admin, name) = (options.clone(), template.clone());
    on_a_thread(async move {
        let mut conn = admin.connect().await.expect("the test server answers");
        execute(&mut conn, format!("drop database if exists {name} with (force)")).await;
        execute(&mut conn, format!("create database {name}")).await;
        let database = Database::connect_with(admin.database(&name), 1).await.expect("the template answers");
        database.migrate().await.expect("the migrations run");
        // A database with sessions cannot be a template.
        database.close().await;
    });
    Server { options, template, _keeper: keeper }
});

/// Starts a private server and returns how to reach it, with the shell that keeps it.
fn start() -> (PgConnectOptions, Child) {
    let bin =
        find_binaries().expect("PostgreSQL's server binaries are installed (`make setup`), or DATABASE_URL is set");
    let folder = PathBuf::from(format!("/tmp/secateur-pg-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder under /tmp");
    let script = r#"
        trap '' PIPE
        trap '"$1/pg_ctl" -w -m immediate -D "$2/data" stop >>"$2/log" 2>&1; rm -rf "$2"' EXIT
        "$1/initdb" -D "$2/data" -U postgres -A trust -N -E UTF8 --locale=C >"$2/log" 2>&1 || { cat "$2/log"; exit; }
        "$1/pg_ctl" -w -D "$2/data" -l "$2/log" -o "-F -k $2 -c listen_addresses= -c max_connections=300" start \
            >>"$2/log" 2>&1 || { cat "$2/log"; exit; }
        echo ready
        cat >/dev/null
    "#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&bin).arg(&folder).current_dir("/");
    // PostgreSQL does not run as root.
    if let Some((uid, gid)) = unprivileged_user() {
        chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
        command.uid(uid).gid(gid);
    }
    // A group of its own: a Ctrl-C is for the tests, and the server goes when they are gone.
    let mut child =
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell can be started");
    let mut output = BufReader::new(child.stdout.take().expect("a piped output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("the script's output");
    if line.trim() != "ready" {
        output.read_to_string(&mut line).expect("the script's output");
        panic!("PostgreSQL did not start:\n{line}");
    }
    let options = PgConnectOptions::new_without_pgpass().socket(&folder).username("postgres").database("postgres");
    (options, child)
}

/// Where `initdb` lies: `PG_BIN`, the search path, then the newest of the usual folders.
fn find_binaries() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut usual: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path().join("bin")))
        .collect();
    usual.sort();
    // A link in the search path leads to the folder that also has `pg_ctl`.
    let found =
        named.chain(path).chain(usual.into_iter().rev()).find_map(|folder| folder.join("initdb").canonicalize().ok());
    found?.parent().map(Path::to_path_buf)
}

/// Whom to run as where this process is root: `postgres`, else `nobody`.
fn unprivileged_user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name))
                .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
        })
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user without privileges"))
}

/// Whether this process is root: its own entry in /proc belongs to its effective user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

async fn execute(conn: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(conn).await.expect("the statement runs");
}

/// Runs to the end, whatever runtime the caller is in.
fn on_a_thread(work: impl Future<Output = ()> + Send + 'static) {
    let run = || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
    };
    std::thread::spawn(run).join().expect("the thread ends well");
}
