//! Tensors in memory: a dtype, a shape and packed little-endian elements that may share a file's memory.

use std::borrow::Cow;

use bytes::Bytes;

use super::dtype::DataType;
use super::proto::TensorProto;

/// A dense tensor, row-major. Elements are packed as `TensorProto.raw_data` packs them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dtype: DataType,
    pub shape: Vec<usize>,
    pub data: Bytes,
}

/// Why a tensor message is not a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error("its element type {0} is not one that ONNX knows")]
    UnknownType(i32),
    #[error("axis {axis} has the size {size}")]
    NegativeSize { axis: usize, size: i64 },
    #[error("its shape {0:?} has more elements than can be counted")]
    TooLarge(Vec<i64>),
    #[error("its shape {shape:?} of {dtype} takes {expected} bytes, but {found} are there")]
    WrongLength { shape: Vec<usize>, dtype: DataType, expected: usize, found: usize },
    #[error("its elements lie in an external file, which is not at hand")]
    External,
    #[error("it holds strings")]
    Strings,
    #[error("it is {found}, not {expected}")]
    WrongType { expected: &'static str, found: DataType },
}

/// Number of elements of a shape; `None` on overflow.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

impl Tensor {
    /// A tensor of 32-bit floats. Panics where `values` does not fill `shape`.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(element_count(shape), Some(values.len()), "values must fill the shape {shape:?}");
        Self {
            dtype: DataType::Float,
            shape: shape.to_vec(),
            data: Bytes::copy_from_slice(bytemuck::cast_slice(values)),
        }
    }

    /// A tensor of 64-bit integers. Panics where `values` does not fill `shape`.
    pub fn from_i64(shape: &[usize], values: &[i64]) -> Self {
        assert_eq!(element_count(shape), Some(values.len()), "values must fill the shape {shape:?}");
        Self {
            dtype: DataType::Int64,
            shape: shape.to_vec(),
            data: Bytes::copy_from_slice(bytemuck::cast_slice(values)),
        }
    }

    /// A tensor of any fixed-width type from its packed elements.
    ///
    /// Errors: [`TensorError::WrongLength`] where the bytes do not fill the shape.
    pub fn from_bytes(dtype: DataType, shape: &[usize], data: Bytes) -> Result<Self, TensorError> {
        let expected = element_count(shape)
            .and_then(|count| dtype.bytes_for(count))
            .ok_or_else(|| TensorError::TooLarge(shape.iter().map(|s| *s as i64).collect()))?;
        if data.len() != expected {
            return Err(TensorError::WrongLength { shape: shape.to_vec(), dtype, expected, found: data.len() });
        }
        Ok(Self { dtype, shape: shape.to_vec(), data })
    }

    /// Reads a message, whichever of its fields holds the elements. `raw_data` is shared, not copied.
    pub fn from_proto(proto: &TensorProto) -> Result<Self, TensorError> {
        let number = proto.data_type();
        let dtype = DataType::from_number(number).ok_or(TensorError::UnknownType(number))?;
        let shape = proto
            .dims
            .iter()
            .enumerate()
            .map(|(axis, size)| usize::try_from(*size).map_err(|_| TensorError::NegativeSize { axis, size: *size }))
            .collect::<Result<Vec<_>, _>>()?;
        if proto.data_location() != 0 || !proto.external_data.is_empty() {
            return Err(TensorError::External);
        }
        if dtype == DataType::String {
            return Err(TensorError::Strings);
        }
        let data = match &proto.raw_data {
            Some(raw) => raw.clone(),
            None => typed_elements(proto, dtype),
        };
        Self::from_bytes(dtype, &shape, data)
    }

    /// The message with this name; elements go into `raw_data`.
    pub fn to_proto(&self, name: &str) -> TensorProto {
        TensorProto {
            dims: self.shape.iter().map(|size| *size as i64).collect(),
            data_type: Some(self.dtype.number()),
            name: Some(name.to_owned()),
            raw_data: Some(self.data.clone()),
            ..TensorProto::default()
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The elements as 32-bit floats; other floating types are converted.
    ///
    /// Errors: [`TensorError::WrongType`] for integers, booleans and the like.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>, TensorError> {
        Ok(match self.dtype {
            DataType::Float => match bytemuck::try_cast_slice(&self.data) {
                Ok(slice) => Cow::Borrowed(slice),
                Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.data)),
            },
            DataType::Double => words::<8>(&self.data).map(|b| f64::from_le_bytes(b) as f32).collect(),
            DataType::Float16 => words::<2>(&self.data).map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
            DataType::Bfloat16 => words::<2>(&self.data).map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
            found => return Err(TensorError::WrongType { expected: "a floating-point tensor", found }),
        })
    }

    /// The elements as 64-bit integers; narrower integers and booleans are converted.
    ///
    /// Errors: [`TensorError::WrongType`] for floats and the like.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        Ok(match self.dtype {
            DataType::Int64 => words::<8>(&self.data).map(i64::from_le_bytes).collect(),
            DataType::Uint64 => words::<8>(&self.data).map(|b| u64::from_le_bytes(b) as i64).collect(),
            DataType::Int32 => words::<4>(&self.data).map(|b| i64::from(i32::from_le_bytes(b))).collect(),
            DataType::Uint32 => words::<4>(&self.data).map(|b| i64::from(u32::from_le_bytes(b))).collect(),
            DataType::Int16 => words::<2>(&self.data).map(|b| i64::from(i16::from_le_bytes(b))).collect(),
            DataType::Uint16 => words::<2>(&self.data).map(|b| i64::from(u16::from_le_bytes(b))).collect(),
            DataType::Int8 => self.data.iter().map(|b| i64::from(b.cast_signed())).collect(),
            DataType::Uint8 | DataType::Bool => self.data.iter().map(|b| i64::from(*b)).collect(),
            found => return Err(TensorError::WrongType { expected: "an integer tensor", found }),
        })
    }

    /// A tensor of this one's dtype and the given shape from 32-bit floats, rounded where the type is narrower.
    ///
    /// Errors: [`TensorError::WrongType`] where this tensor is not of a floating type.
    pub fn with_f32(&self, shape: &[usize], values: &[f32]) -> Result<Self, TensorError> {
        let data: Bytes = match self.dtype {
            DataType::Float => Bytes::copy_from_slice(bytemuck::cast_slice(values)),
            DataType::Double => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
            DataType::Float16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            DataType::Bfloat16 => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
            found => return Err(TensorError::WrongType { expected: "a floating-point tensor", found }),
        };
        Self::from_bytes(self.dtype, shape, data)
    }
}

/// The whole words of `N` bytes.
fn words<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks::<N>().0.iter().copied()
}

/// Packs the elements of the typed fields (`float_data`, `int32_data`, …) as `raw_data` would hold them.
fn typed_elements(proto: &TensorProto, dtype: DataType) -> Bytes {
    match dtype {
        DataType::Float | DataType::Complex64 => Bytes::copy_from_slice(bytemuck::cast_slice(&proto.float_data)),
        DataType::Double | DataType::Complex128 => Bytes::copy_from_slice(bytemuck::cast_slice(&proto.double_data)),
        DataType::Int64 => Bytes::copy_from_slice(bytemuck::cast_slice(&proto.int64_data)),
        DataType::Uint64 => Bytes::copy_from_slice(bytemuck::cast_slice(&proto.uint64_data)),
        DataType::Uint32 => proto.uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        DataType::Int32 => Bytes::copy_from_slice(bytemuck::cast_slice(&proto.int32_data)),
        // Narrow types are stored one element (of 16 bits) or one byte of packed elements in each int32.
        _ if dtype.bits() == 16 => proto.int32_data.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect(),
        _ => proto.int32_data.iter().map(|v| *v as u8).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_the_same_from_raw_and_typed_fields() {
        let typed = TensorProto {
            dims: vec![2, 2],
            data_type: Some(DataType::Float16.number()),
            int32_data: [1.0_f32, -2.0, 0.5, 4.0]
                .iter()
                .map(|v| i32::from(half::f16::from_f32(*v).to_bits()))
                .collect(),
            ..TensorProto::default()
        };
        let tensor = Tensor::from_proto(&typed).unwrap();
        assert_eq!(tensor.to_f32().unwrap().as_ref(), &[1.0, -2.0, 0.5, 4.0]);
        assert_eq!(Tensor::from_proto(&tensor.to_proto("t")).unwrap(), tensor);
    }

    #[test]
    fn bytes_that_do_not_fill_the_shape_are_refused() {
        let short = TensorProto {
            dims: vec![3],
            data_type: Some(DataType::Float.number()),
            raw_data: Some(Bytes::from_static(&[0; 8])),
            ..TensorProto::default()
        };
        assert_eq!(
            Tensor::from_proto(&short),
            Err(TensorError::WrongLength { shape: vec![3], dtype: DataType::Float, expected: 12, found: 8 })
        );
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        let huge = TensorProto { dims: vec![i64::MAX, i64::MAX], data_type: Some(1), ..TensorProto::default() };
        assert!(matches!(Tensor::from_proto(&huge), Err(TensorError::TooLarge(_))));
    }
}
