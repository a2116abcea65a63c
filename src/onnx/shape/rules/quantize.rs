//! Quantization: linear, dynamic, and ONNX Runtime's integer versions of element-wise operators.

use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axis_of, broadcast};

pub const FAMILIES: &[Family] = &[
    (AI, &["QuantizeLinear"], quantize),
    (MS, &["QuantizeLinear"], quantize),
    (AI, &["DequantizeLinear"], dequantize),
    (MS, &["DequantizeLinear"], dequantize),
    (AI, &["DynamicQuantizeLinear"], dynamic),
    (MS, &["QLinearAdd", "QLinearMul"], binary),
    (MS, &["QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"], unary),
    (MS, &["QLinearConcat"], concat),
    (MS, &["QGemm"], gemm),
];

fn number(call: &Call, name: &str) -> Option<DataType> {
    call.node
        .int(name)
        .filter(|number| *number != 0)
        .and_then(|number| DataType::from_number(i32::try_from(number).ok()?))
}

fn quantize(call: &Call) -> Outputs {
    let dtype = call.dtype(2).or_else(|| number(call, "output_dtype")).unwrap_or(DataType::Uint8);
    Ok(vec![Fact::new(Some(dtype), call.dims(0)?.to_vec())])
}

fn dequantize(call: &Call) -> Outputs {
    let dtype = number(call, "output_dtype").or(call.dtype(1)).or(Some(DataType::Float));
    Ok(vec![Fact::new(dtype, call.dims(0)?.to_vec())])
}

fn dynamic(call: &Call) -> Outputs {
    let scalar = |dtype| Fact::new(Some(dtype), vec![]);
    let quantized = Fact::new(Some(DataType::Uint8), call.dims(0)?.to_vec());
    Ok(vec![quantized, scalar(DataType::Float), scalar(DataType::Uint8)])
}

fn binary(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), broadcast(call.dims(0)?, call.dims(3)?)?)])
}

fn unary(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.to_vec())])
}

/// Inputs: scale and zero point of the result, then tensor, scale and zero point of each part.
fn concat(call: &Call) -> Outputs {
    let mut dims = call.dims(2)?.to_vec();
    let axis = axis_of(call.int("axis", 0), dims.len())?;
    for slot in (5..call.inputs.len()).step_by(3) {
        let size = call.dims(slot)?.get(axis).ok_or("its inputs have different numbers of axes")?;
        dims[axis] = dims[axis].add(size);
    }
    Ok(vec![Fact::new(call.dtype(2), dims)])
}

fn gemm(call: &Call) -> Outputs {
    let side = |slot: usize, attribute: &str, free: usize| -> Result<Dim, String> {
        let axis = if call.int(attribute, 0) != 0 { 1 - free } else { free };
        call.dims(slot)?.get(axis).cloned().ok_or_else(|| format!("input {slot} is no matrix"))
    };
    let dtype = if call.optional(8).is_some() { call.dtype(8) } else { Some(DataType::Float) };
    Ok(vec![Fact::new(dtype, vec![side(0, "transA", 0)?, side(3, "transB", 1)?])])
}
