//! A model that is too large for one message: an archive (tar, without compression) of `model.onnx` and `model.data`.
//!
//! Unpacked, it is what every ONNX runtime reads; packed, it is one file that can be kept, addressed and fetched in parts
//! like any other. Entries are read where they lie in the archive, never unpacked, and their names lead nowhere.

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::external::{EXTERNAL, Files, is_flat};
use super::{LARGEST_MESSAGE, write};
use crate::onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use crate::onnx::tensor::Tensor;
use crate::spec::failure::{Failure, FailureCode};

/// Names of the two entries.
const MODEL: &str = "model.onnx";
const DATA: &str = "model.data";

/// Weights from this size on go into the data file; smaller ones would take more room for their address.
const APART_FROM_BYTES: usize = 1 << 10;
/// Weights from this size on begin at a memory page, so that runtimes can map them; smaller ones at a cache line.
const PAGED_FROM_BYTES: usize = 64 << 10;
const PAGE_BYTES: u64 = 4096;
const LINE_BYTES: u64 = 64;
/// Size of a block of a tar archive.
const BLOCK_BYTES: u64 = 512;
/// Entries that an archive may have.
const MOST_ENTRIES: usize = 1024;

/// Why an archive is not one of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive is damaged at byte {offset}: {reason}")]
    Damaged { offset: usize, reason: &'static str },
    #[error("the archive's entry `{name}` is no plain file with a flat name; links and folders are not taken")]
    Entry { name: String },
    #[error("the archive has `{name}` twice")]
    Twice { name: String },
    #[error("the archive has more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("the archive has {found} files that end in `.onnx`, not one")]
    Models { found: usize },
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let failure = Self::new(FailureCode::ExternalData, error.to_string());
        match error {
            ArchiveError::Damaged { offset, .. } => failure.at(format!("byte {offset}")),
            ArchiveError::Entry { name } | ArchiveError::Twice { name } => failure.at(name),
            ArchiveError::TooMany | ArchiveError::Models { .. } => failure,
        }
    }
}

/// A model with its weights apart.
#[derive(Debug)]
pub struct Apart {
    model: ModelProto,
    /// Where each weight lies in the data file, in rising order.
    weights: Vec<(u64, Bytes)>,
    data_bytes: u64,
}

impl Apart {
    /// Takes the initializers of the main graph out of the message.
    ///
    /// Errors: what is left is too large for a message: it has weights elsewhere, as attributes or in subgraphs.
    pub fn new(model: &ModelProto) -> io::Result<Self> {
        let mut apart = Self { model: model.clone(), weights: Vec::new(), data_bytes: 0 };
        for tensor in apart.model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            let Some(elements) = large_elements(tensor) else { continue };
            let unit = if elements.len() >= PAGED_FROM_BYTES { PAGE_BYTES } else { LINE_BYTES };
            let offset = apart.data_bytes.next_multiple_of(unit);
            let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
            *tensor = TensorProto {
                dims: std::mem::take(&mut tensor.dims),
                data_type: tensor.data_type,
                name: tensor.name.take(),
                doc_string: tensor.doc_string.take(),
                metadata_props: std::mem::take(&mut tensor.metadata_props),
                data_location: Some(EXTERNAL),
                external_data: vec![
                    entry("location", DATA.into()),
                    entry("offset", offset.to_string()),
                    entry("length", elements.len().to_string()),
                ],
                ..TensorProto::default()
            };
            apart.data_bytes = offset + elements.len() as u64;
            apart.weights.push((offset, elements));
        }
        if apart.model.encoded_len() as u64 > LARGEST_MESSAGE {
            let message = "the model takes more than 2 GiB without the initializers of its main graph";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(apart)
    }

    /// Writes both files into a folder; returns the model's path.
    pub fn write_files(&self, folder: &Path) -> io::Result<std::path::PathBuf> {
        let create = |name: &str| Ok::<_, io::Error>(io::BufWriter::new(std::fs::File::create(folder.join(name))?));
        let mut model = create(MODEL)?;
        write::write(&self.model, &mut model)?;
        model.flush()?;
        let mut data = create(DATA)?;
        self.write_data(&mut data)?;
        data.flush()?;
        Ok(folder.join(MODEL))
    }

    /// Writes the archive. Equal models give equal bytes.
    pub fn write_archive(&self, out: &mut dyn Write) -> io::Result<()> {
        let model_bytes = self.model.encoded_len() as u64;
        out.write_all(&header(MODEL, model_bytes))?;
        write::write(&self.model, out)?;
        zeros(out, padding(model_bytes))?;
        out.write_all(&header(DATA, self.data_bytes))?;
        self.write_data(out)?;
        // Two empty blocks end an archive.
        zeros(out, padding(self.data_bytes) + 2 * BLOCK_BYTES)
    }

    /// Bytes of the archive.
    pub fn archive_bytes(&self) -> u64 {
        let blocks = |bytes: u64| BLOCK_BYTES + bytes + padding(bytes);
        blocks(self.model.encoded_len() as u64) + blocks(self.data_bytes) + 2 * BLOCK_BYTES
    }

    fn write_data(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut at = 0;
        for (offset, elements) in &self.weights {
            zeros(out, offset - at)?;
            out.write_all(elements)?;
            at = offset + elements.len() as u64;
        }
        Ok(())
    }
}

/// The tensor's elements where they are large and of whole bytes; those in typed fields are packed.
fn large_elements(tensor: &TensorProto) -> Option<Bytes> {
    let elements = Tensor::from_proto(tensor).ok()?.data;
    (elements.len() >= APART_FROM_BYTES).then_some(elements)
}

fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES) - bytes
}

fn zeros(out: &mut dyn Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), out).map(drop)
}

/// The header of a plain file (POSIX ustar), without owner and time.
fn header(name: &str, bytes: u64) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match format!("{bytes:011o}\0") {
        octal if octal.len() == 12 => put(124, octal.as_bytes()),
        // Beyond 8 GiB the size is binary, with the highest bit set, as GNU and libarchive write and read it.
        _ => {
            put(124, &[0x80]);
            put(128, &bytes.to_be_bytes());
        }
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Whether the bytes begin like an archive.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// The model's message and the files beside it, as they lie in the archive.
///
/// Errors: [`ArchiveError`]; a name may be there once, everything must be a plain file.
pub fn open(bytes: &Bytes) -> Result<(Bytes, Files), ArchiveError> {
    let (mut models, mut files, mut at) = (Vec::new(), Files::new(), 0_usize);
    loop {
        let damaged = |reason| ArchiveError::Damaged { offset: at, reason };
        let end_of_header = at.checked_add(512).filter(|end| *end <= bytes.len());
        let block = &bytes[at..end_of_header.ok_or_else(|| damaged("it ends within a header"))?];
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        if block.get(257..262) != Some(b"ustar") || !sum_fits(block) {
            return Err(damaged("this is no header"));
        }
        let name = text(&block[..100]);
        // A long name's prefix would make a path of it.
        if !matches!(block[156], b'0' | 0) || !is_flat(&name) || block[345] != 0 && block[257..263] == *b"ustar\0" {
            return Err(ArchiveError::Entry { name });
        }
        let size = size(&block[124..136]).ok_or_else(|| damaged("a size cannot be read"))?;
        let start = at + 512;
        let end = start.checked_add(size).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| damaged("it ends within a file"))?;
        if models.len() + files.len() >= MOST_ENTRIES {
            return Err(ArchiveError::TooMany);
        }
        if Path::new(&name).extension().is_some_and(|ending| ending == "onnx") {
            models.push(bytes.slice(start..end));
        } else if files.insert(name.clone(), bytes.slice(start..end)).is_some() {
            return Err(ArchiveError::Twice { name });
        }
        at = end.next_multiple_of(512);
    }
    match <[Bytes; 1]>::try_from(models) {
        Ok([model]) => Ok((model, files)),
        Err(models) => Err(ArchiveError::Models { found: models.len() }),
    }
}

/// The sum over the header with blanks in its own place.
fn sum_fits(block: &[u8]) -> bool {
    let sum: usize =
        block.iter().enumerate().map(|(i, byte)| usize::from(if (148..156).contains(&i) { b' ' } else { *byte })).sum();
    octal(&block[148..156]) == Some(sum)
}

fn size(field: &[u8]) -> Option<usize> {
    match field {
        [0x80, 0, 0, 0, rest @ ..] => usize::try_from(u64::from_be_bytes(rest.try_into().ok()?)).ok(),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<usize> {
    let digits = text(field);
    usize::from_str_radix(digits.trim_matches(' '), 8).ok()
}

/// A field's text up to the first NUL.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
