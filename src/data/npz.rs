//! `.npz` files: a zip of `.npy` arrays.
//!
//! An array that was stored without compression stays in the mapped file; one that was deflated, of the other byte order
//! or in Fortran order is written out anew, to a nameless file where it is large.

use std::path::Path;

use bytes::Bytes;

use super::DataError;
use super::archive::{Archive, Budget, Entry};
use super::npy::{self, Header};
use super::spill::Spill;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;
use crate::spec::attempt::DatasetLimits;

/// An array of an `.npz` file.
#[derive(Clone, Debug)]
pub struct NamedArray {
    /// The entry's name without `.npy`.
    pub name: String,
    pub tensor: Tensor,
}

/// Whether an archive with these entries is an `.npz`: one of its files at the top ends in `.npy`.
pub(super) fn is_npz(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| array_name(entry).is_some_and(|name| !name.contains('/')))
}

/// Reads all arrays of an `.npz` file in the order of the archive.
///
/// Errors: what is wrong with the file or the first entry that is no sound array.
pub fn read_arrays(path: &Path, limits: &DatasetLimits) -> Result<Vec<NamedArray>, DataError> {
    let (mut archive, entries) = Archive::open(path, limits)?;
    read(&mut archive, &entries, limits)
}

/// The same for an archive that is open already.
pub(super) fn read(
    archive: &mut Archive,
    entries: &[Entry],
    limits: &DatasetLimits,
) -> Result<Vec<NamedArray>, DataError> {
    let mut budget = Budget::new(limits.unpacked_bytes);
    entries
        .iter()
        .map(|entry| {
            let name = named(entry)?.to_owned();
            Ok(NamedArray { name, tensor: load(archive, entry, &mut budget)? })
        })
        .collect()
}

/// Unpacks an array without keeping it: its size is what its header says, its checksum is right.
pub(super) fn verify(archive: &mut Archive, entry: &Entry, budget: &mut Budget) -> Result<Header, DataError> {
    stream(archive, entry, budget, |_| Ok(()))
}

/// The name of the array that an entry holds.
///
/// Errors: an entry of another kind.
pub(super) fn named(entry: &Entry) -> Result<&str, DataError> {
    array_name(entry).ok_or_else(|| DataError::entry(&entry.name, "is no array, but lies in an .npz file"))
}

fn array_name(entry: &Entry) -> Option<&str> {
    entry.name.strip_suffix(".npy").filter(|name| !name.is_empty())
}

fn load(archive: &mut Archive, entry: &Entry, budget: &mut Budget) -> Result<Tensor, DataError> {
    let wrong = |reason: String| DataError::entry(&entry.name, reason);
    if let Some(bytes) = archive.stored(entry)? {
        let parsed = npy::parse(&bytes).map_err(wrong)?;
        let (header, offset) = parsed.ok_or_else(|| wrong("ends within its header".into()))?;
        check_length(entry, &header, bytes.len() - offset)?;
        return native(&header, bytes.slice(offset..));
    }
    let mut spill = Spill::default();
    let header = stream(archive, entry, budget, |piece| Ok(spill.write(piece)?))?;
    native(&header, spill.finish()?)
}

/// Unpacks an entry, parses its header and hands out its elements, of which there are as many as the header says.
fn stream(
    archive: &mut Archive,
    entry: &Entry,
    budget: &mut Budget,
    mut take: impl FnMut(&[u8]) -> Result<(), DataError>,
) -> Result<Header, DataError> {
    let wrong = |reason: String| DataError::entry(&entry.name, reason);
    let (mut head, mut header) = (Vec::new(), None::<Header>);
    let mut elements = 0;
    archive.unpack(entry, budget, |piece| {
        let grown;
        let piece = if header.is_some() {
            piece
        } else {
            head.extend_from_slice(piece);
            let Some((parsed, offset)) = npy::parse(&head).map_err(wrong)? else { return Ok(()) };
            header = Some(parsed);
            grown = std::mem::take(&mut head).split_off(offset);
            &grown
        };
        elements += piece.len();
        match &header {
            Some(header) if elements > header.bytes => check_length(entry, header, elements),
            _ => take(piece),
        }
    })?;
    let header = header.ok_or_else(|| wrong("ends within its header".into()))?;
    check_length(entry, &header, elements)?;
    Ok(header)
}

fn check_length(entry: &Entry, header: &Header, found: usize) -> Result<(), DataError> {
    if found == header.bytes {
        return Ok(());
    }
    let more = if found > header.bytes { "more" } else { "fewer" };
    let reason = format!("holds {more} bytes than the {} that its shape {:?} takes", header.bytes, header.shape);
    Err(DataError::entry(&entry.name, reason))
}

/// The elements in this machine's byte order and row by row.
fn native(header: &Header, bytes: Bytes) -> Result<Tensor, DataError> {
    let width = header.dtype.bits() / 8;
    let swapped = if header.big_endian { swap(&bytes, width)? } else { bytes };
    let turned = header.fortran_order && header.shape.len() > 1;
    let data = if turned { row_major(&swapped, &header.shape, width)? } else { swapped };
    Ok(Tensor { dtype: header.dtype, shape: header.shape.clone(), data })
}

fn swap(bytes: &[u8], width: usize) -> Result<Bytes, DataError> {
    let mut spill = Spill::default();
    for piece in bytes.chunks(width << 13) {
        let mut piece = piece.to_vec();
        piece.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        spill.write(&piece)?;
    }
    Ok(spill.finish()?)
}

/// Elements that were stored with the first axis running fastest, with the last one running fastest.
fn row_major(bytes: &[u8], shape: &[usize], width: usize) -> Result<Bytes, DataError> {
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |product, size| {
            let stride = *product;
            *product *= size;
            Some(stride)
        })
        .collect();
    let mut spill = Spill::default();
    let mut position = vec![0; shape.len()];
    let last = shape.len() - 1;
    let mut row = Vec::with_capacity(shape[last] * width);
    // `position` walks over all axes but the last.
    for _ in 0..shape[..last].iter().product::<usize>() {
        row.clear();
        let start: usize = position.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
        for column in 0..shape[last] {
            let at = (start + column * strides[last]) * width;
            row.extend_from_slice(&bytes[at..at + width]);
        }
        spill.write(&row)?;
        for axis in (0..last).rev() {
            position[axis] += 1;
            if position[axis] < shape[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
    Ok(spill.finish()?)
}

/// The labels in an array.
///
/// Errors: another type than integers, another shape than one axis, a label that is no class.
pub(super) fn labels(entry: &str, tensor: &Tensor) -> Result<Vec<i64>, DataError> {
    let wrong = |reason: String| DataError::Entry { entry: format!("{entry}.npy"), reason };
    if tensor.shape.len() != 1 {
        return Err(wrong(format!(
            "holds the labels, but is of the shape {:?}; one label a sample is read",
            tensor.shape
        )));
    }
    if tensor.dtype == DataType::Bool {
        return Err(wrong("holds the labels, but as bool; save them as integers".into()));
    }
    let labels = tensor.to_i64().map_err(|_| {
        wrong(format!("holds the labels, but as {}; labels are integers", npy::numpy_name(tensor.dtype)))
    })?;
    // A uint64 beyond the range of int64 is negative here.
    match labels.iter().position(|label| *label < 0) {
        Some(sample) => Err(DataError::Label { sample, value: labels[sample] }),
        None => Ok(labels),
    }
}
