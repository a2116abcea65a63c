//! A table of measured times: what a part of a model took on this machine, by the part's signature.
//!
//! Kept as lines of text that are only ever added, so that several processes may write one file and a process that is
//! killed spoils its last line at most. Knows nothing of how parts are timed or what their signatures say.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// A file that has grown beyond this is begun anew: about 200,000 parts.
const LARGEST_FILE: u64 = 16 << 20;

/// Times of parts under one set of conditions.
#[derive(Debug)]
pub struct LatencyTable {
    file: Option<PathBuf>,
    /// The first line of a file.
    conditions: String,
    nanoseconds: HashMap<String, f64>,
    /// Lines that are not in the file yet.
    unsaved: String,
}

impl LatencyTable {
    /// What the folder holds for these conditions; a table that is never written without a folder. Lines that make no sense
    /// are left out.
    pub(super) fn open(folder: Option<&Path>, conditions: &str) -> Self {
        let hash = hex::encode(&Sha256::digest(conditions)[..8]);
        let file = folder.map(|folder| folder.join(format!("latency-{hash}.txt")));
        if let Some(file) = &file
            && fs::metadata(file).is_ok_and(|metadata| metadata.len() > LARGEST_FILE)
        {
            // Another process may have been faster; both begin anew.
            let _ = fs::remove_file(file);
        }
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let mut nanoseconds = HashMap::new();
        let entries = text.lines().filter_map(|line| {
            // The unit at the end tells a whole line from one that was cut off.
            let (signature, time) = line.strip_suffix(" ns")?.split_once(' ')?;
            Some((signature, time.parse::<f64>().ok().filter(|time| time.is_finite() && *time > 0.0)?))
        });
        for (signature, time) in entries {
            nanoseconds.entry(signature.to_owned()).or_insert(time);
        }
        Self { file, conditions: conditions.to_owned(), nanoseconds, unsaved: String::new() }
    }

    /// The time of a part, where it was measured.
    pub fn get(&self, signature: &str) -> Option<f64> {
        self.nanoseconds.get(signature).copied()
    }

    /// Remembers the time of a part; for those to come too where it is worth keeping, which a disturbed one is not.
    /// Signatures hold no blanks.
    pub fn insert(&mut self, signature: String, nanoseconds: f64, keep: bool) {
        if keep {
            for word in [&signature, " ", &format!("{nanoseconds:.0}"), " ns\n"] {
                self.unsaved.push_str(word);
            }
        }
        self.nanoseconds.insert(signature, nanoseconds);
    }

    /// Writes what is new. A table that cannot be written is measured again next time, so that this is no error.
    pub fn save(&mut self) {
        let lines = std::mem::take(&mut self.unsaved);
        let Some(file) = self.file.as_ref().filter(|_| !lines.is_empty()) else { return };
        let lines = if file.exists() { lines } else { format!("# {}\n{lines}", self.conditions) };
        let written = OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| {
            // One write, so that lines of several processes do not mix.
            file.write_all(lines.as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!("What was measured cannot be kept in {}: {error}", file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_known_to_the_next_under_the_same_conditions_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = LatencyTable::open(Some(folder.path()), "1 thread");
        table.insert("a".into(), 1500.0, true);
        table.insert("disturbed".into(), 9000.0, false);
        assert_eq!(table.get("disturbed"), Some(9000.0));
        table.save();
        table.insert("b".into(), 2500.0, true);
        table.save();
        let file = table.file.clone().unwrap();
        let mut text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "# 1 thread\na 1500 ns\nb 2500 ns\n");
        // As a process leaves it that was killed while it wrote.
        text.push_str("c nan ns\nd -1 ns\ne 12");
        fs::write(&file, text).unwrap();

        let next = LatencyTable::open(Some(folder.path()), "1 thread");
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|part| next.get(part)),
            [Some(1500.0), Some(2500.0), None, None, None]
        );
        assert_eq!(LatencyTable::open(Some(folder.path()), "2 threads").get("a"), None);
    }
}
