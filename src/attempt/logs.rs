//! Logs of the child travel to the parent as lines of JSON on standard error; the parent logs them again as its own,
//! with the ids of job and attempt, in the format that the server was asked for. What native libraries print there
//! comes along as plain text, and its tail explains crashes.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tracing::{debug, error, info, trace, warn};
use tracing_subscriber::EnvFilter;

/// Longest line that is taken at once; a longer one arrives in pieces.
const LINE_BYTES: u64 = 16 << 10;

/// Lines relayed from one attempt. Whatever prints more than that tells nothing new, and must not fill the log.
const RELAYED_LINES: u64 = 20_000;

/// Lines (plain text, and errors that were logged) kept to tell what a crash was.
const TAIL_LINES: usize = 40;

/// Child: logs as JSON on standard error.
pub(super) fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).finish();
    // Fails only where a logger is set already, which keeps working.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

#[derive(Deserialize)]
struct Line {
    level: String,
    target: String,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// Parent: logs what a child writes to its standard error until it ends; returns the tail of what
/// libraries printed and of the errors.
pub(super) async fn relay(stderr: impl AsyncRead + Unpin, ids: &BTreeMap<String, String>) -> String {
    let mut reader = BufReader::new(stderr);
    let mut tail: VecDeque<String> = VecDeque::new();
    let ids = Ids { job: ids.get("job.id").map(String::as_str), attempt: ids.get("job.attempt").map(String::as_str) };
    let mut relayed = 0_u64;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        relayed += 1;
        let parsed = serde_json::from_str::<Line>(text).ok();
        let telling = match &parsed {
            None => Some(text),
            Some(line) if line.level == "ERROR" => line.fields.get("message").and_then(Value::as_str),
            Some(_) => None,
        };
        if let Some(telling) = telling {
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(telling.to_owned());
        }
        match relayed.cmp(&RELAYED_LINES) {
            std::cmp::Ordering::Less => emit(parsed, text, &ids),
            std::cmp::Ordering::Equal => {
                warn!(job.id = ids.job, job.attempt = ids.attempt, "The attempt logs too much; the rest is left out");
            }
            std::cmp::Ordering::Greater => {}
        }
    }
    Vec::from(tail).join("\n")
}

/// What the relayed lines belong to.
struct Ids<'a> {
    job: Option<&'a str>,
    attempt: Option<&'a str>,
}

fn emit(line: Option<Line>, text: &str, ids: &Ids<'_>) {
    // A macro, because the level of a `tracing` event is fixed where it stands in the source.
    macro_rules! relay {
        ($level:ident, $target:expr, $fields:expr, $($message:tt)+) => {
            $level!(
                job.id = ids.job,
                job.attempt = ids.attempt,
                attempt.target = $target,
                attempt.fields = $fields,
                $($message)+
            )
        };
    }
    let Some(Line { level, target, mut fields }) = line else {
        relay!(warn, None::<&str>, None::<&str>, "From a library in the attempt: {text}");
        return;
    };
    let message = match fields.remove("message") {
        Some(Value::String(message)) => message,
        other => other.map(|other| other.to_string()).unwrap_or_default(),
    };
    let fields = (!fields.is_empty()).then(|| Value::Object(fields).to_string());
    let (target, fields) = (target.as_str(), fields.as_deref());
    match level.as_str() {
        "ERROR" => relay!(error, target, fields, "{message}"),
        "WARN" => relay!(warn, target, fields, "{message}"),
        "INFO" => relay!(info, target, fields, "{message}"),
        "DEBUG" => relay!(debug, target, fields, "{message}"),
        _ => relay!(trace, target, fields, "{message}"),
    }
}
