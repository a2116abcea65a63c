//! Files as shared bytes. The one place that maps memory.

use std::fs::File;

use bytes::Bytes;

/// Maps a whole file as bytes that every tensor of a model shares; pages are read when they are touched.
///
/// Errors: the system's. An empty file gives no bytes.
#[expect(unsafe_code, reason = "mapping a file has no safe form")]
pub fn map(file: &File) -> std::io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only. Files given here are content-addressed blobs or lie in the scratch
    // directory of this attempt: they are written once, renamed into place, and never truncated while they are in use.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
