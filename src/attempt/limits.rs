//! The limits that an attempt process sets on itself before it reads a byte of its input.
//!
//! The child does this and not the parent between fork and exec: code there would need `unsafe`. Nothing untrusted has
//! been touched when the limits are set, so the order loses nothing.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use crate::spec::attempt::Limits;

/// Address space that may be reserved beyond twice the memory limit. Allocators and thread stacks reserve about three
/// times what they touch; the watchdog counts what is really used, this limit only stops one enormous allocation that
/// would go by between two looks of the watchdog.
const DATA_RESERVE_BYTES: u64 = 4 << 30;

/// CPU time allowed beyond deadline × threads, so that the parent's wall-clock deadline, which explains itself better,
/// is the one that is met first.
const CPU_SLACK_SECONDS: u64 = 60;

/// Makes the kernel end this process when the thread that started it dies.
pub(super) fn follow_parent() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Lowers the limits of this process; a limit that is already lower stays.
pub(super) fn apply(limits: &Limits, threads: u32) -> io::Result<()> {
    // The kernel's last resort should take attempts, never the service or its database.
    fs::write("/proc/self/oom_score_adj", "1000")?;
    // A latency may be measured with more threads than the job has; no process gets more than all processors.
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let cpu_threads = (u64::from(threads.max(1)) + 1).max(processors);
    let cpu_seconds = limits.deadline_ms.div_ceil(1000).saturating_mul(cpu_threads).saturating_add(CPU_SLACK_SECONDS);
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, limits.file_bytes)?;
    lower(Resource::Nofile, limits.open_files)?;
    lower(Resource::Cpu, cpu_seconds)?;
    lower(Resource::Data, limits.memory_bytes.saturating_mul(2).saturating_add(DATA_RESERVE_BYTES))
}

fn lower(resource: Resource, to: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let maximum = now.maximum.map_or(to, |maximum| maximum.min(to));
    let current = now.current.map_or(maximum, |current| current.min(maximum));
    setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    Ok(())
}
