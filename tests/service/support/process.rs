//! Processes of this machine as `/proc` shows them, and their end.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Whether the process exists and has not ended; one that nobody has waited for yet has ended.
pub fn lives(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Children of a process, those that have ended left out.
pub fn children_of(parent: u32) -> Vec<u32> {
    every().filter(|pid| state_and_parent(*pid).is_some_and(|(state, of)| of == parent && state != 'Z')).collect()
}

/// Processes that work in a folder.
pub fn working_in(folder: &Path) -> Vec<u32> {
    every().filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)).collect()
}

/// Processes one of whose arguments contains a text.
pub fn with_argument(text: &str) -> Vec<u32> {
    let contains = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| String::from_utf8_lossy(argument).contains(text))
    };
    every().filter(contains).collect()
}

/// `kill -9`; a process that is gone already is as good.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends a signal to a process that may be gone.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}

fn every() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc lists the processes");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Fields 3 and 4 of `stat`; the second, the program's name, may hold anything, so that they are counted from its end.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
