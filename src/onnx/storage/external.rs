//! Weights that lie in files beside the model (ONNX, "External Data").
//!
//! A model names a file; here that name is only ever compared with the names of files that came with it, letter by
//! letter, so that no model can point anywhere. What was read stands in the tensors afterwards as if it had always been
//! there, and shares the file's memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::visit;
use crate::onnx::dtype::DataType;
use crate::onnx::proto::{ModelProto, TensorProto};
use crate::onnx::tensor::element_count;
use crate::spec::failure::{Failure, FailureCode};

/// `TensorProto.DataLocation.EXTERNAL`.
pub(super) const EXTERNAL: i32 = 1;

/// How often the bytes of all files together may be read, and how many more: equal weights may share their place in a
/// file, but a small file must not become a huge model.
const MOST_SHARING: u64 = 2;
const SHARED_BYTES: u64 = 64 << 20;

/// The files that came with a model, by name.
pub type Files = BTreeMap<String, Bytes>;

/// Why the files and what the model says of them do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    #[error(
        "`{name}` is not the name of a file beside the model: it is empty, too long, `.` or `..`, or has `/`, `\\`, `:` or \
         a control character"
    )]
    Name { place: String, name: String },
    #[error("the elements of `{tensor}` lie in the file `{name}`, which did not come with the model")]
    Missing { tensor: String, name: String },
    #[error("no tensor lies in the file `{name}`")]
    Unused { name: String },
    #[error("`{tensor}` needs the bytes {offset} to {end} of `{name}`, which has {size}")]
    Range { tensor: String, name: String, offset: u64, end: u128, size: u64 },
    #[error("`{tensor}` takes {expected} bytes, but its place in `{name}` has {length}")]
    Length { tensor: String, name: String, expected: u64, length: u64 },
    #[error("what `{tensor}` says of its external data cannot be: {reason}")]
    Entry { tensor: String, reason: String },
    #[error("the tensors take {limit} bytes and more of files that have {size}: their places overlap too much")]
    Overlap { limit: u64, size: u64 },
}

impl From<ExternalError> for Failure {
    fn from(error: ExternalError) -> Self {
        use ExternalError::{Entry, Length, Missing, Name, Overlap, Range, Unused};
        let failure = Self::new(FailureCode::ExternalData, error.to_string());
        match error {
            Name { place, .. } => failure.at(place),
            Missing { tensor, .. } | Range { tensor, .. } | Length { tensor, .. } | Entry { tensor, .. } => {
                failure.at(tensor)
            }
            Unused { name } => failure.at(name),
            Overlap { .. } => failure,
        }
    }
}

/// Whether a file beside a model can have this name on every system: flat, and nothing that leads elsewhere.
pub fn is_flat(name: &str) -> bool {
    let odd = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !name.is_empty() && name.len() <= 255 && !matches!(name, "." | "..") && !name.chars().any(odd)
}

/// Whether the tensor's elements lie elsewhere, by its own word.
pub fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() != 0 || !tensor.external_data.is_empty()
}

/// Puts the elements of external tensors where all others are. Returns how many tensors that were.
///
/// Errors: [`ExternalError`]; a model without files and without external tensors has none.
pub fn resolve(model: &mut ModelProto, files: &Files) -> Result<usize, ExternalError> {
    if let Some(name) = files.keys().find(|name| !is_flat(name)) {
        return Err(ExternalError::Name { place: name.clone(), name: name.clone() });
    }
    let size: u64 = files.values().map(|file| file.len() as u64).sum();
    let limit = size.saturating_mul(MOST_SHARING).saturating_add(SHARED_BYTES);
    let (mut used, mut count, mut taken) = (BTreeSet::new(), 0, 0_u64);
    visit::tensors(model, &mut |place, tensor| {
        if !is_external(tensor) {
            return Ok(());
        }
        let (name, elements) = elements(place, tensor, files)?;
        taken = taken.saturating_add(elements.len() as u64);
        if taken > limit {
            return Err(ExternalError::Overlap { limit, size });
        }
        used.insert(name);
        count += 1;
        tensor.raw_data = Some(elements);
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    })?;
    match files.keys().find(|name| !used.contains(*name)) {
        Some(name) => Err(ExternalError::Unused { name: name.clone() }),
        None => Ok(count),
    }
}

/// The file's name and the tensor's bytes in it.
fn elements(place: &str, tensor: &TensorProto, files: &Files) -> Result<(String, Bytes), ExternalError> {
    let wrong = |reason: String| ExternalError::Entry { tensor: place.to_owned(), reason };
    if tensor.data_location() != EXTERNAL {
        return Err(wrong("the tensor does not say that its data are external".into()));
    }
    if tensor.raw_data.is_some() {
        return Err(wrong("the tensor has elements of its own too".into()));
    }
    let (mut name, mut offset, mut length) = (None, None, None);
    for entry in &tensor.external_data {
        let (key, value) = (entry.key.as_deref().unwrap_or_default(), entry.value.as_deref().unwrap_or_default());
        let number = || {
            // `parse` would take a sign.
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let number = if digits { value.parse::<u64>().ok() } else { None };
            number.ok_or_else(|| wrong(format!("`{key}` is {value:?}, not a number of bytes")))
        };
        let twice = match key {
            "location" => name.replace(value).is_some(),
            "offset" => offset.replace(number()?).is_some(),
            "length" => length.replace(number()?).is_some(),
            // What came is hashed on its way; a checksum of the exporter's adds nothing.
            "checksum" => false,
            other => {
                return Err(wrong(format!(
                    "it has the key {other:?} beside `location`, `offset`, `length`, `checksum`"
                )));
            }
        };
        if twice {
            return Err(wrong(format!("`{key}` is there twice")));
        }
    }
    let name = name.ok_or_else(|| wrong("it names no `location`".into()))?;
    if !is_flat(name) {
        return Err(ExternalError::Name { place: place.to_owned(), name: name.to_owned() });
    }
    let missing = || ExternalError::Missing { tensor: place.to_owned(), name: name.to_owned() };
    let file = files.get(name).ok_or_else(missing)?;
    let expected = bytes_of(tensor).ok_or_else(|| wrong("its type or shape takes no countable bytes".into()))?;
    let (offset, length) = (offset.unwrap_or(0), length.unwrap_or(expected));
    let (size, end) = (file.len() as u64, u128::from(offset) + u128::from(length));
    if end > u128::from(size) {
        return Err(ExternalError::Range { tensor: place.to_owned(), name: name.to_owned(), offset, end, size });
    }
    if length != expected {
        return Err(ExternalError::Length { tensor: place.to_owned(), name: name.to_owned(), expected, length });
    }
    // Both lie within the file, which is in memory.
    Ok((name.to_owned(), file.slice(offset as usize..(offset + length) as usize)))
}

/// Bytes that type and shape ask for; `None` for texts and for what cannot be counted.
fn bytes_of(tensor: &TensorProto) -> Option<u64> {
    let dtype = DataType::from_number(tensor.data_type()).filter(|dtype| *dtype != DataType::String)?;
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|size| usize::try_from(*size).ok()).collect();
    Some(dtype.bytes_for(element_count(&shape?)?)? as u64)
}
