//! From the elements of a stored sample to those of a model's input.

use bytes::Bytes;

use super::DataError;
use super::normalize::Normalize;
use super::npy::numpy_name;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

/// How the elements of an array become those of an input.
#[derive(Clone, Debug)]
pub(super) enum Conversion {
    /// As they are.
    Copy,
    /// Integers, normalised to floats.
    Normalize(Box<Normalize>),
    /// Any numbers as floats.
    Floats,
    /// Integers of another width.
    Integers,
}

impl Conversion {
    /// From an array's type to an input's. Integers are normalised where there is a normalisation and floats are wanted.
    pub(super) fn choose(from: DataType, to: DataType, normalize: Option<Normalize>) -> Option<Self> {
        let integer = |dtype: DataType| !dtype.is_float() && dtype != DataType::Bool;
        match normalize {
            Some(normalize) if integer(from) && to.is_float() => Some(Self::Normalize(Box::new(normalize))),
            _ if from == to => Some(Self::Copy),
            _ if to.is_float() && from != DataType::Bool => Some(Self::Floats),
            _ if integer(from) && integer(to) => Some(Self::Integers),
            _ => None,
        }
    }

    /// Whether samples pass through 32-bit floats.
    pub(super) fn is_float(&self) -> bool {
        matches!(self, Self::Normalize(_) | Self::Floats)
    }

    /// The elements of one sample as floats.
    pub(super) fn floats(&self, dtype: DataType, sample: &[u8], out: &mut [f32]) {
        if let (Self::Normalize(normalize), DataType::Uint8) = (self, dtype) {
            return normalize.bytes(sample, out);
        }
        widen(dtype, sample, out);
        if let Self::Normalize(normalize) = self {
            normalize.in_place(out);
        }
    }
}

/// Numbers of any type as 32-bit floats.
pub(super) fn widen(dtype: DataType, sample: &[u8], out: &mut [f32]) {
    fn each<const N: usize>(sample: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
        for (word, value) in sample.as_chunks::<N>().0.iter().zip(out) {
            *value = read(*word);
        }
    }
    match dtype {
        DataType::Float => each(sample, out, f32::from_le_bytes),
        DataType::Double => each(sample, out, |word| f64::from_le_bytes(word) as f32),
        DataType::Float16 => each(sample, out, |word| half::f16::from_le_bytes(word).to_f32()),
        DataType::Int8 => each(sample, out, |word| f32::from(i8::from_le_bytes(word))),
        DataType::Int16 => each(sample, out, |word| f32::from(i16::from_le_bytes(word))),
        DataType::Int32 => each(sample, out, |word| i32::from_le_bytes(word) as f32),
        DataType::Int64 => each(sample, out, |word| i64::from_le_bytes(word) as f32),
        DataType::Uint16 => each(sample, out, |word| f32::from(u16::from_le_bytes(word))),
        DataType::Uint32 => each(sample, out, |word| u32::from_le_bytes(word) as f32),
        DataType::Uint64 => each(sample, out, |word| u64::from_le_bytes(word) as f32),
        // The other types that arrays have are of one byte.
        _ => each(sample, out, |[byte]| f32::from(byte)),
    }
}

/// Integers in another width.
///
/// Errors: a number that the other width cannot hold.
pub(super) fn integers(tensor: &Tensor, to: DataType) -> Result<Tensor, DataError> {
    let unheld = |value: i64| DataError::Mismatch {
        reason: format!(
            "a value of {value} in an array of {} does not go into the model's input of {to}",
            numpy_name(tensor.dtype)
        ),
    };
    // A uint64 beyond int64 is negative as an int64, and then goes into no input either.
    let values = tensor.to_i64().map_err(|error| DataError::Mismatch { reason: error.to_string() })?;
    macro_rules! narrow {
        ($kind:ty) => {
            values
                .iter()
                .map(|value| <$kind>::try_from(*value).map(|v| v.to_le_bytes()).map_err(|_| unheld(*value)))
                .collect::<Result<Vec<_>, _>>()?
                .concat()
        };
    }
    if tensor.dtype == DataType::Uint64
        && let Some(value) = values.iter().find(|value| **value < 0)
    {
        return Err(unheld(*value));
    }
    let data: Vec<u8> = match to {
        DataType::Int8 => narrow!(i8),
        DataType::Int16 => narrow!(i16),
        DataType::Int32 => narrow!(i32),
        DataType::Uint8 => narrow!(u8),
        DataType::Uint16 => narrow!(u16),
        DataType::Uint32 => narrow!(u32),
        DataType::Uint64 => narrow!(u64),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    Ok(Tensor { dtype: to, shape: tensor.shape.clone(), data: data.into() })
}

/// Floats as a tensor of a floating type, without a copy where that is of 32 bits.
pub(super) fn tensor_of(floats: Vec<f32>, shape: Vec<usize>, dtype: DataType) -> Tensor {
    /// Floats that are read as bytes.
    struct Floats(Vec<f32>);
    impl AsRef<[u8]> for Floats {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    let data: Bytes = match dtype {
        DataType::Double => floats.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect(),
        DataType::Float16 => floats.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
        DataType::Bfloat16 => floats.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect(),
        _ => Bytes::from_owner(Floats(floats)),
    };
    Tensor { dtype, shape, data }
}
