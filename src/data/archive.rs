//! A zip archive from an untrusted hand: names are checked, and sizes are counted while entries are unpacked, never
//! believed. Nothing is ever written under an entry's name.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

use bytes::Bytes;
use zip::{CompressionMethod, ZipArchive};

use super::DataError;
use crate::onnx::mapped;
use crate::spec::attempt::DatasetLimits;

/// Bytes of an entry that are unpacked before its ratio is held against the limit: small files compress as they like.
const RATIO_GRACE: u64 = 1 << 20;
/// Longest name of an entry.
const NAME_BYTES: usize = 1024;

/// An archive whose entries have sound names.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    bytes: Bytes,
    zip: ZipArchive<Cursor<Bytes>>,
    ratio: u64,
}

/// A file in the archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    index: usize,
    pub(super) name: String,
    packed: u64,
}

/// Bytes that may still be unpacked, over all entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u64,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }
}

impl Archive {
    /// Maps the file and lists its files; folders are left out.
    pub(super) fn open(path: &Path, limits: &DatasetLimits) -> Result<(Self, Vec<Entry>), DataError> {
        let bytes = mapped::map(&File::open(path)?)?;
        if !bytes.starts_with(b"PK\x03\x04") {
            let reason = "it is no zip archive; a dataset is an .npz file or a .zip of class folders of images";
            return Err(DataError::NotADataset { reason: reason.into() });
        }
        let unsound = |error: zip::result::ZipError| DataError::NotADataset {
            reason: format!("its zip directory is damaged: {error}"),
        };
        let zip = ZipArchive::new(Cursor::new(bytes.clone())).map_err(unsound)?;
        if zip.len() as u64 > limits.entries {
            let reason = format!("the archive has {} entries, the server's limit is {}", zip.len(), limits.entries);
            return Err(DataError::NotADataset { reason });
        }
        if zip.has_duplicate_names() {
            return Err(DataError::NotADataset { reason: "two entries of the archive have the same name".into() });
        }
        let mut entries = Vec::with_capacity(zip.len());
        for index in 0..zip.len() {
            let data = zip.by_index_data(index).map_err(unsound)?;
            let name = sound_name(data.name_raw())?;
            if data.is_dir() {
                continue;
            }
            if data.is_symlink() {
                return Err(DataError::entry(&name, "is a symbolic link"));
            }
            if data.encrypted() {
                return Err(DataError::entry(&name, "is encrypted"));
            }
            if !matches!(data.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
                let reason = format!("is compressed by {}; deflate and no compression are read", data.compression());
                return Err(DataError::entry(&name, reason));
            }
            entries.push(Entry { index, packed: data.compressed_size(), name });
        }
        Ok((Self { bytes, zip, ratio: limits.ratio }, entries))
    }

    /// Unpacks an entry piece by piece, its checksum included, counting against the budget.
    pub(super) fn unpack(
        &mut self,
        entry: &Entry,
        budget: &mut Budget,
        mut take: impl FnMut(&[u8]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let damaged = |error: &dyn std::fmt::Display| DataError::entry(&entry.name, format!("is damaged: {error}"));
        let most = entry.packed.saturating_mul(self.ratio).max(RATIO_GRACE);
        let mut file = self.zip.by_index(entry.index).map_err(|error| damaged(&error))?;
        let mut buffer = vec![0; 1 << 16];
        let mut unpacked = 0_u64;
        loop {
            let count = file.read(&mut buffer).map_err(|error| damaged(&error))?;
            if count == 0 {
                return Ok(());
            }
            unpacked += count as u64;
            if unpacked > most {
                return Err(DataError::Limit {
                    entry: entry.name.clone(),
                    reason: format!("unpacks to more than {} times its size", self.ratio),
                    limit: self.ratio,
                });
            }
            budget.left = budget.left.checked_sub(count as u64).ok_or_else(|| DataError::Limit {
                entry: entry.name.clone(),
                reason: "takes the archive beyond the bytes that it may unpack to".into(),
                limit: budget.limit,
            })?;
            take(&buffer[..count])?;
        }
    }

    /// The whole of a small entry.
    ///
    /// Errors: [`DataError::Limit`] where it is larger than `most` bytes.
    pub(super) fn read(&mut self, entry: &Entry, most: u64, budget: &mut Budget) -> Result<Vec<u8>, DataError> {
        let mut whole = Vec::with_capacity(usize::try_from(entry.packed.min(most)).unwrap_or(0));
        self.unpack(entry, budget, |piece| {
            if whole.len() as u64 + piece.len() as u64 > most {
                let reason = "is larger than a file of its kind may be".to_owned();
                return Err(DataError::Limit { entry: entry.name.clone(), reason, limit: most });
            }
            whole.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(whole)
    }

    /// The bytes of an entry that was stored without compression, within the mapped file.
    pub(super) fn stored(&mut self, entry: &Entry) -> Result<Option<Bytes>, DataError> {
        let damaged = |error: &dyn std::fmt::Display| DataError::entry(&entry.name, format!("is damaged: {error}"));
        let file = self.zip.by_index(entry.index).map_err(|error| damaged(&error))?;
        if file.compression() != CompressionMethod::Stored {
            return Ok(None);
        }
        let start = file.data_start().and_then(|start| usize::try_from(start).ok());
        let end = start.zip(usize::try_from(entry.packed).ok()).and_then(|(start, size)| start.checked_add(size));
        match start.zip(end) {
            Some((start, end)) if end <= self.bytes.len() => Ok(Some(self.bytes.slice(start..end))),
            _ => Err(damaged(&"it reaches beyond the end of the archive")),
        }
    }
}

/// An entry's name, where it is plain text and leads nowhere but down.
fn sound_name(raw: &[u8]) -> Result<String, DataError> {
    let shown = String::from_utf8_lossy(&raw[..raw.len().min(80)]).into_owned();
    let odd = |reason: &str| Err(DataError::entry(&shown, reason));
    let Ok(name) = std::str::from_utf8(raw) else { return odd("has a name that is not UTF-8") };
    if name.is_empty() || name.len() > NAME_BYTES {
        return odd("has a name that is empty or too long");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return odd("has a name with a backslash or a control character");
    }
    let parts = name.strip_suffix('/').unwrap_or(name).split('/');
    if name.starts_with('/') || parts.into_iter().any(|part| matches!(part, "" | "." | "..")) {
        return odd("has a name that leads out of the archive");
    }
    Ok(name.to_owned())
}
