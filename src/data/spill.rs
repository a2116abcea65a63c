//! Bytes that are kept in memory while they are few and in a nameless temporary file when they are many.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::onnx::mapped;

/// Bytes above which a file is used.
const IN_MEMORY: usize = 64 << 20;

/// Collects bytes.
#[derive(Debug, Default)]
pub(super) struct Spill {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spill {
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.write_within(piece, IN_MEMORY)
    }

    fn write_within(&mut self, piece: &[u8], in_memory: usize) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + piece.len() > in_memory {
            let mut file = nameless_file()?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            return file.write_all(piece);
        }
        self.memory.extend_from_slice(piece);
        Ok(())
    }

    /// All bytes that were written; those of a file are mapped.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        match self.file {
            Some(file) => mapped::map(&file),
            None => Ok(self.memory.into()),
        }
    }
}

/// A file in the folder for temporary files (`TMPDIR`, the scratch directory of an attempt) that is gone with its handle.
fn nameless_file() -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("secateur-spill-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_from_memory_and_from_a_file() {
        for in_memory in [0, 3, 100] {
            let mut spill = Spill::default();
            for piece in [&b"ab"[..], b"", b"cde", b"f"] {
                spill.write_within(piece, in_memory).unwrap();
            }
            assert_eq!(spill.file.is_some(), in_memory < 6);
            assert_eq!(spill.finish().unwrap().as_ref(), b"abcdef");
        }
    }
}
