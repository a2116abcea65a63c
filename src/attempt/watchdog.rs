//! Watches this process's own anonymous memory and ends it above the limit, with a reason.
//!
//! Anonymous resident memory is what an attempt really takes from the machine: mapped model files can be dropped by the
//! kernel at any time, and limits on address space count reservations that are never touched.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use super::outcome::OutcomeFile;
use super::process::end_now;
use crate::spec::attempt::AttemptOutcome;
use crate::spec::failure::{Failure, FailureCode};

/// Time between two looks. One look costs some 30 µs; memory can be filled by about 2 GB a second, so the limit is
/// overshot by at most 100 MB or so.
const INTERVAL: Duration = Duration::from_millis(50);

/// Starts the watching thread.
pub(super) fn start(limit_bytes: u64, outcome: Arc<OutcomeFile>) -> std::io::Result<()> {
    thread::Builder::new()
        .name("memory-watchdog".into())
        .stack_size(256 << 10)
        .spawn(move || watch(limit_bytes, &outcome))?;
    Ok(())
}

fn watch(limit_bytes: u64, outcome: &OutcomeFile) {
    loop {
        if let Some(used) = anonymous_bytes().filter(|used| *used > limit_bytes) {
            let message = format!(
                "the attempt used {} MiB of memory, its limit is {} MiB; use a smaller batch, a smaller model, or raise \
                 the server's job memory",
                used >> 20,
                limit_bytes >> 20
            );
            let failure = Failure::new(FailureCode::OutOfMemory, message);
            // Where the task was faster, its outcome stands and the process is ending anyway.
            if !matches!(outcome.write(&AttemptOutcome::Failed { failure }), Ok(false)) {
                end_now();
            }
            return;
        }
        thread::sleep(INTERVAL);
    }
}

/// Anonymous and shared memory of this process in RAM.
fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: u64 = status
        .lines()
        .filter_map(|line| line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:")))
        .filter_map(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .sum();
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_counted_and_reserved_memory_is_not() {
        let before = anonymous_bytes().unwrap();
        let reserved: Vec<u8> = Vec::with_capacity(256 << 20);
        assert!(anonymous_bytes().unwrap() < before + (128 << 20));
        let touched = vec![1_u8; 256 << 20];
        assert!(anonymous_bytes().unwrap() > before + (192 << 20));
        drop((reserved, touched));
    }
}
