//! A walk over a file's wire fields before anything is decoded: nothing is allocated, nothing is trusted.
//!
//! Knows the wire schema and nothing of our structs. What the decoder would drop (unknown fields) or blow up (millions of
//! tiny messages, deep nesting) is refused here, with the byte offset.

use super::schema::{Field, Kind, Wire};
use crate::spec::attempt::ModelLimits;
use crate::spec::failure::{Failure, FailureCode};

/// Why a file is refused before it is decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrescanError {
    #[error("the file is empty")]
    Empty,
    #[error("the file is in ONNX Runtime's own format (ORT); convert it back to ONNX or upload the original")]
    OrtFormat,
    #[error("the file is not an ONNX model: it does not start as one ({0})")]
    NotOnnx(&'static str),
    #[error("{message} at byte {offset} has a field {number} that ONNX does not know")]
    UnknownField { message: String, number: u64, offset: usize },
    #[error("field `{field}` of {message} at byte {offset} has the wrong wire type")]
    WireType { message: String, field: &'static str, offset: usize },
    #[error("the file ends within {message}, at byte {offset}")]
    Truncated { message: String, offset: usize },
    #[error("{message} has a number of more than 64 bits at byte {offset}")]
    Varint { message: String, offset: usize },
    #[error("field `{field}` of {message} at byte {offset} is not UTF-8")]
    Utf8 { message: String, field: &'static str, offset: usize },
    #[error("field `{field}` of {message} at byte {offset} has a NUL character; names and texts are without")]
    Nul { message: String, field: &'static str, offset: usize },
    #[error("messages are nested deeper than {limit} at byte {offset}")]
    TooDeep { limit: u32, offset: usize },
    #[error("the model has more than {limit} {what}")]
    TooMany { what: &'static str, limit: u64 },
}

impl From<PrescanError> for Failure {
    fn from(error: PrescanError) -> Self {
        let place = match &error {
            PrescanError::UnknownField { message, offset, .. }
            | PrescanError::WireType { message, offset, .. }
            | PrescanError::Truncated { message, offset }
            | PrescanError::Varint { message, offset }
            | PrescanError::Utf8 { message, offset, .. }
            | PrescanError::Nul { message, offset, .. } => Some(format!("{message} at byte {offset}")),
            PrescanError::TooDeep { offset, .. } => Some(format!("byte {offset}")),
            _ => None,
        };
        let failure = Self::new(FailureCode::InvalidModel, error.to_string());
        match place {
            Some(place) => failure.at(place),
            None => failure,
        }
    }
}

/// What a walk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nodes: u64,
    /// Dense and sparse tensors, those in attributes included.
    pub tensors: u64,
    pub attributes: u64,
    /// Messages of other kinds.
    pub others: u64,
    /// What the messages may take in memory once they are decoded, weights left in the file.
    pub memory_bytes: u64,
    /// Bytes of all texts and names.
    pub string_bytes: u64,
}

/// Walks the file's wire fields and holds them against the limits.
pub fn scan(bytes: &[u8], limits: &ModelLimits) -> Result<Counts, PrescanError> {
    if bytes.is_empty() {
        return Err(PrescanError::Empty);
    }
    if bytes.get(4..8) == Some(b"ORTM") {
        return Err(PrescanError::OrtFormat);
    }
    foreign(bytes)?;
    let mut walk = Walk { bytes, limits, counts: Counts::default() };
    walk.message(Kind::ModelProto, 0, bytes.len(), 0)?;
    Ok(walk.counts)
}

/// Files that are plainly something else get a message that says what.
fn foreign(bytes: &[u8]) -> Result<(), PrescanError> {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"PK\x03\x04", "it is a zip archive, such as PyTorch saves"),
        (b"\x1f\x8b", "it is compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd"),
        (b"\x89PNG", "it is an image"),
        (b"\xff\xd8\xff", "it is an image"),
        (b"\x80\x02", "it is a Python pickle"),
        (b"\x89HDF", "it is HDF5, such as Keras saves"),
        (b"\x93NUMPY", "it is a numpy array"),
        (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself"),
        (b"<", "it is XML or HTML"),
        (b"{", "it is JSON"),
    ];
    match MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, what)) => Err(PrescanError::NotOnnx(what)),
        None if bytes.get(4..8) == Some(b"TFL3") => Err(PrescanError::NotOnnx("it is TensorFlow Lite")),
        None => Ok(()),
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    limits: &'a ModelLimits,
    counts: Counts,
}

impl Walk<'_> {
    fn message(&mut self, kind: Kind, start: usize, end: usize, depth: u32) -> Result<(), PrescanError> {
        if depth > self.limits.nesting {
            return Err(PrescanError::TooDeep { limit: self.limits.nesting, offset: start });
        }
        self.count(kind)?;
        let mut at = start;
        while at < end {
            let offset = at;
            let key = self.varint(kind, &mut at, end)?;
            let number = key >> 3;
            let field = u32::try_from(number)
                .ok()
                .and_then(|number| kind.field(number))
                .ok_or_else(|| PrescanError::UnknownField { message: format!("{kind:?}"), number, offset })?;
            match key & 7 {
                0 if matches!(field.wire, Wire::Varint) => {
                    self.varint(kind, &mut at, end)?;
                    self.entry(field)?;
                }
                1 if matches!(field.wire, Wire::F64) => self.skip(kind, &mut at, 8, end, field)?,
                5 if matches!(field.wire, Wire::F32) => self.skip(kind, &mut at, 4, end, field)?,
                2 => self.delimited(kind, field, &mut at, end, depth)?,
                _ => return Err(PrescanError::WireType { message: format!("{kind:?}"), field: field.name, offset }),
            }
        }
        Ok(())
    }

    fn delimited(
        &mut self,
        kind: Kind,
        field: &Field,
        at: &mut usize,
        end: usize,
        depth: u32,
    ) -> Result<(), PrescanError> {
        let offset = *at;
        let length = self.varint(kind, at, end)?;
        let stop = usize::try_from(length).ok().and_then(|length| at.checked_add(length)).filter(|stop| *stop <= end);
        let stop = stop.ok_or_else(|| PrescanError::Truncated { message: format!("{kind:?}"), offset })?;
        let start = std::mem::replace(at, stop);
        match field.wire {
            Wire::Message(inner) => self.message(inner, start, stop, depth + 1),
            Wire::Bytes => self.entry(field),
            Wire::Str => {
                if std::str::from_utf8(&self.bytes[start..stop]).is_err() {
                    return Err(PrescanError::Utf8 { message: format!("{kind:?}"), field: field.name, offset });
                }
                // A NUL cannot be kept in the database, and ends a string in the C API of the runtime.
                if self.bytes[start..stop].contains(&0) {
                    return Err(PrescanError::Nul { message: format!("{kind:?}"), field: field.name, offset });
                }
                self.counts.string_bytes += length;
                if self.counts.string_bytes > self.limits.string_bytes {
                    return Err(PrescanError::TooMany {
                        what: "bytes of names and texts",
                        limit: self.limits.string_bytes,
                    });
                }
                self.entry(field)
            }
            // Packed numbers; their memory is of the order of their bytes.
            _ if !field.repeated => {
                Err(PrescanError::WireType { message: format!("{kind:?}"), field: field.name, offset })
            }
            Wire::F32 | Wire::F64 => {
                let width = if field.wire == Wire::F32 { 4 } else { 8 };
                if (stop - start).is_multiple_of(width) {
                    Ok(())
                } else {
                    Err(PrescanError::Truncated { message: format!("{kind:?}"), offset })
                }
            }
            Wire::Varint => {
                let mut inner = start;
                while inner < stop {
                    self.varint(kind, &mut inner, stop)?;
                    self.take(8)?;
                }
                Ok(())
            }
        }
    }

    fn skip(
        &mut self,
        kind: Kind,
        at: &mut usize,
        width: usize,
        end: usize,
        field: &Field,
    ) -> Result<(), PrescanError> {
        if end - *at < width {
            return Err(PrescanError::Truncated { message: format!("{kind:?}"), offset: *at });
        }
        *at += width;
        self.entry(field)
    }

    /// Reads a number of at most 10 bytes and 64 bits.
    fn varint(&self, kind: Kind, at: &mut usize, end: usize) -> Result<u64, PrescanError> {
        let offset = *at;
        let mut value = 0_u64;
        for place in 0..10 {
            let Some(byte) = self.bytes.get(*at).filter(|_| *at < end) else {
                return Err(PrescanError::Truncated { message: format!("{kind:?}"), offset });
            };
            *at += 1;
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(PrescanError::Varint { message: format!("{kind:?}"), offset })
    }

    fn count(&mut self, kind: Kind) -> Result<(), PrescanError> {
        let counts = &mut self.counts;
        let (count, what, limit) = match kind {
            Kind::NodeProto => (&mut counts.nodes, "nodes", self.limits.nodes),
            Kind::TensorProto => (&mut counts.tensors, "tensors", self.limits.initializers.saturating_mul(2)),
            Kind::AttributeProto => (&mut counts.attributes, "attributes", self.limits.nodes.saturating_mul(16)),
            _ => (&mut counts.others, "messages", u64::MAX),
        };
        *count += 1;
        if *count > limit {
            return Err(PrescanError::TooMany { what, limit });
        }
        self.take(size_in_memory(kind))
    }

    /// An entry of a list takes a place in memory that may be larger than its bytes in the file.
    fn entry(&mut self, field: &Field) -> Result<(), PrescanError> {
        if field.repeated { self.take(ENTRY) } else { Ok(()) }
    }

    fn take(&mut self, bytes: u64) -> Result<(), PrescanError> {
        self.counts.memory_bytes += bytes;
        let limit = BASE_MEMORY.saturating_add(MEMORY_PER_BYTE.saturating_mul(self.bytes.len() as u64));
        if self.counts.memory_bytes > limit {
            Err(PrescanError::TooMany { what: "bytes once it is decoded", limit })
        } else {
            Ok(())
        }
    }
}

/// Memory that any model may take when it is decoded: room for a quarter of a million attributes of 2 KiB.
const BASE_MEMORY: u64 = 512 << 20;
/// Memory beyond that for each byte of the file. Weights take none (they stay in the file), floats in typed fields 1,
/// names about 2; millions of empty names would take 16.
const MEMORY_PER_BYTE: u64 = 4;
/// A string or a slice of bytes in a list.
const ENTRY: u64 = 32;

/// Upper bounds of what a decoded message takes by itself; a test holds them against the structs.
fn size_in_memory(kind: Kind) -> u64 {
    match kind {
        Kind::AttributeProto => 2048,
        Kind::GraphProto | Kind::TensorProto | Kind::FunctionProto | Kind::ModelProto => 512,
        Kind::SparseTensorProto | Kind::TrainingInfoProto => 1024,
        _ => 320,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::onnx::proto;

    #[test]
    fn a_name_with_a_nul_is_refused_with_its_place() {
        // ModelProto.producer_name (field 2), of three bytes.
        let model = |name: &[u8; 3]| [&[0x12, 3], name.as_slice()].concat();
        assert!(scan(&model(b"x.y"), &ModelLimits::default()).is_ok());
        let error = scan(&model(b"x\0y"), &ModelLimits::default()).expect_err("a NUL");
        assert!(matches!(&error, PrescanError::Nul { field: "producer_name", offset: 1, .. }), "{error}");
        let failure = Failure::from(error);
        assert_eq!(failure.code, FailureCode::InvalidModel);
        assert_eq!(failure.place.as_deref(), Some("ModelProto at byte 1"));
    }

    #[test]
    fn decoded_messages_are_not_larger_than_reckoned() {
        for (kind, size) in [
            (Kind::AttributeProto, size_of::<proto::AttributeProto>()),
            (Kind::GraphProto, size_of::<proto::GraphProto>()),
            (Kind::TensorProto, size_of::<proto::TensorProto>()),
            (Kind::FunctionProto, size_of::<proto::FunctionProto>()),
            (Kind::ModelProto, size_of::<proto::ModelProto>()),
            (Kind::SparseTensorProto, size_of::<proto::SparseTensorProto>()),
            (Kind::TrainingInfoProto, size_of::<proto::TrainingInfoProto>()),
            (Kind::NodeProto, size_of::<proto::NodeProto>()),
            (Kind::ValueInfoProto, size_of::<proto::ValueInfoProto>()),
            (Kind::TypeProto, size_of::<proto::TypeProto>()),
            (Kind::NodeDeviceConfigurationProto, size_of::<proto::NodeDeviceConfigurationProto>()),
        ] {
            assert!(size as u64 <= size_in_memory(kind), "{kind:?} takes {size} bytes");
        }
    }
}
