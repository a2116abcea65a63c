//! Tensors across the border to ONNX Runtime, without a copy in either direction where memory allows it.

use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;
use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};
use ort::session::{SessionInputValue, SharedSessionInner};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use super::EngineError;
use super::runtime::NAME;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

/// A view of a tensor that lives as long as the tensor. Elements that are not aligned for their type are copied.
pub(super) fn lend<'t>(name: &str, tensor: &'t Tensor) -> Result<SessionInputValue<'t>, EngineError> {
    match tensor.dtype {
        DataType::Float => view::<f32>(tensor),
        DataType::Double => view::<f64>(tensor),
        DataType::Float16 => halves(tensor, f16::from_bits),
        DataType::Bfloat16 => halves(tensor, bf16::from_bits),
        DataType::Int8 => view::<i8>(tensor),
        DataType::Int16 => view::<i16>(tensor),
        DataType::Int32 => view::<i32>(tensor),
        DataType::Int64 => view::<i64>(tensor),
        DataType::Uint8 => view::<u8>(tensor),
        DataType::Uint16 => view::<u16>(tensor),
        DataType::Uint32 => view::<u32>(tensor),
        DataType::Uint64 => view::<u64>(tensor),
        DataType::Bool => booleans(tensor),
        dtype => return Err(EngineError::InputType { engine: NAME, name: name.to_owned(), dtype }),
    }
    .map_err(|error| EngineError::Run { engine: NAME, message: format!("input `{name}`: {}", error.message()) })
}

fn view<T>(tensor: &Tensor) -> Result<SessionInputValue<'_>, ort::Error>
where
    T: PrimitiveTensorElementType + AnyBitPattern + NoUninit + std::fmt::Debug,
{
    match bytemuck::try_cast_slice::<u8, T>(&tensor.data) {
        Ok(elements) => Ok(TensorRef::from_array_view((tensor.shape.as_slice(), elements))?.into()),
        Err(_) => owned(&tensor.shape, bytemuck::pod_collect_to_vec::<u8, T>(&tensor.data)),
    }
}

/// 16-bit floats are copied: the crate that has the types has no views of bytes.
fn halves<T>(tensor: &Tensor, from_bits: fn(u16) -> T) -> Result<SessionInputValue<'_>, ort::Error>
where
    T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
{
    let words = tensor.data.as_chunks::<2>().0;
    owned(&tensor.shape, words.iter().map(|word| from_bits(u16::from_le_bytes(*word))).collect())
}

/// A byte other than 0 and 1 is no boolean for Rust; such bytes are read as true.
fn booleans(tensor: &Tensor) -> Result<SessionInputValue<'_>, ort::Error> {
    match bytemuck::checked::try_cast_slice::<u8, bool>(&tensor.data) {
        Ok(elements) => Ok(TensorRef::from_array_view((tensor.shape.as_slice(), elements))?.into()),
        Err(_) => owned(&tensor.shape, tensor.data.iter().map(|byte| *byte != 0).collect()),
    }
}

fn owned<T>(shape: &[usize], elements: Vec<T>) -> Result<SessionInputValue<'static>, ort::Error>
where
    T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
{
    Ok(OrtTensor::from_array((shape, elements))?.into())
}

/// The output as a tensor over the library's own buffer, which is freed with the last of its users.
pub(super) fn take(
    name: &str,
    value: DynValue,
    session: &Arc<SharedSessionInner>,
    feeds: &[(&str, &Tensor)],
) -> Result<Tensor, EngineError> {
    let (element, shape) = match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            (*ty, shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect::<Vec<_>>())
        }
        other => return Err(EngineError::OutputType { name: name.to_owned(), kind: other.to_string() }),
    };
    let unreadable = |kind: String| EngineError::OutputType { name: name.to_owned(), kind };
    let dtype = dtype_of(element).ok_or_else(|| unreadable(format!("a tensor of {element}")))?;
    let packed = bytes_of(&value, dtype).map_err(|error| unreadable(error.message().to_owned()))?;
    // An output that is nothing but an input's other name is the lent memory itself, which the caller owns.
    let lent = |feed: &Tensor| feed.data.as_ptr_range().contains(&packed.as_ptr());
    let data = if packed.is_empty() || feeds.iter().any(|(_, feed)| lent(feed)) {
        Bytes::copy_from_slice(packed)
    } else {
        Bytes::from_owner(Output { value, dtype, _session: Arc::clone(session) })
    };
    Ok(Tensor { dtype, shape, data })
}

/// An output's buffer. Constants that are outputs belong to the session, so that it is kept as well.
struct Output {
    value: DynValue,
    dtype: DataType,
    _session: Arc<SharedSessionInner>,
}

impl AsRef<[u8]> for Output {
    fn as_ref(&self) -> &[u8] {
        // `take` has read the same bytes with the same type before it made this.
        bytes_of(&self.value, self.dtype).unwrap_or(&[])
    }
}

fn bytes_of(value: &DynValue, dtype: DataType) -> Result<&[u8], ort::Error> {
    fn packed<T: PrimitiveTensorElementType + NoUninit>(value: &DynValue) -> Result<&[u8], ort::Error> {
        value.try_extract_tensor::<T>().map(|(_, elements)| bytemuck::cast_slice(elements))
    }
    match dtype {
        DataType::Float => packed::<f32>(value),
        DataType::Double => packed::<f64>(value),
        DataType::Float16 => {
            value.try_extract_tensor::<f16>().map(|(_, halves)| bytemuck::cast_slice(halves.reinterpret_cast()))
        }
        DataType::Bfloat16 => {
            value.try_extract_tensor::<bf16>().map(|(_, halves)| bytemuck::cast_slice(halves.reinterpret_cast()))
        }
        DataType::Int8 => packed::<i8>(value),
        DataType::Int16 => packed::<i16>(value),
        DataType::Int32 => packed::<i32>(value),
        DataType::Int64 => packed::<i64>(value),
        DataType::Uint8 => packed::<u8>(value),
        DataType::Uint16 => packed::<u16>(value),
        DataType::Uint32 => packed::<u32>(value),
        DataType::Uint64 => packed::<u64>(value),
        DataType::Bool => packed::<bool>(value),
        other => Err(ort::Error::new(format!("a tensor of {other}"))),
    }
}

fn dtype_of(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Float32 => DataType::Float,
        TensorElementType::Float64 => DataType::Double,
        TensorElementType::Float16 => DataType::Float16,
        TensorElementType::Bfloat16 => DataType::Bfloat16,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Bool => DataType::Bool,
        _ => return None,
    })
}
