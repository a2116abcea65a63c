//! Values made from nothing or from shapes: Constant, ConstantOfShape, Shape, Size, Range, random numbers.

use super::{AI, Family};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, MAX_RANK, Outputs};
use crate::onnx::shape::value::{MAX_ELEMENTS, ShapeValue, element_count};
use crate::onnx::tensor::Tensor;

pub const FAMILIES: &[Family] = &[
    (AI, &["Constant"], constant),
    (AI, &["ConstantOfShape"], constant_of_shape),
    (AI, &["Shape"], shape),
    (AI, &["Size"], size),
    (AI, &["Range"], range),
    (AI, &["RandomNormal", "RandomUniform"], random),
    (AI, &["RandomNormalLike", "RandomUniformLike", "Bernoulli", "EyeLike"], like),
];

fn constant(call: &Call) -> Outputs {
    let name = call.node.output.first().map_or("", String::as_str);
    let attribute = call.node.attribute.first().ok_or("it has no value")?;
    let tensor = match attribute.name() {
        "value" => {
            return Ok(vec![super::super::infer::constant(name, attribute.t.as_ref().ok_or("it has no value")?)]);
        }
        "value_int" => Tensor::from_i64(&[], &[attribute.i()]),
        "value_ints" => Tensor::from_i64(&[attribute.ints.len()], &attribute.ints),
        "value_float" => Tensor::from_f32(&[], &[attribute.f()]),
        "value_floats" => Tensor::from_f32(&[attribute.floats.len()], &attribute.floats),
        "value_string" => return Ok(vec![Fact::new(Some(DataType::String), vec![])]),
        "value_strings" => {
            return Ok(vec![Fact::new(Some(DataType::String), vec![Dim::known(attribute.strings.len() as i64)])]);
        }
        "sparse_value" => {
            let sparse = attribute.sparse_tensor.as_ref().ok_or("it has no value")?;
            let dtype = sparse.values.as_ref().and_then(|values| DataType::from_number(values.data_type()));
            return Ok(vec![Fact::new(dtype, sparse.dims.iter().map(|size| Dim::known(*size)).collect())]);
        }
        name => return Err(format!("its value is in the attribute `{name}`, which is unknown")),
    };
    Ok(vec![super::super::infer::of_tensor(name, &tensor)])
}

/// The shape that a shape input asks for: its elements, or opaque sizes where only their number is known.
pub fn asked_shape(call: &Call, slot: usize) -> Result<Vec<Dim>, String> {
    if let Some(value) = call.integers(slot) {
        return if value.elements.len() <= MAX_RANK {
            Ok(value.elements.clone())
        } else {
            Err("it asks for too many axes".into())
        };
    }
    let rank = call.dims(slot)?.first().and_then(Dim::as_known).and_then(|rank| usize::try_from(rank).ok());
    let rank = rank.filter(|rank| *rank <= MAX_RANK).ok_or("the number of axes is unknown")?;
    Ok(call.unknown_dims(0, rank))
}

fn constant_of_shape(call: &Call) -> Outputs {
    let dims = asked_shape(call, 0)?;
    let fill = match call.node.tensor("value") {
        Some(proto) => Tensor::from_proto(proto).map_err(|error| error.to_string())?,
        None => Tensor::from_f32(&[1], &[0.0]),
    };
    let shape =
        dims.iter().map(|dim| dim.as_known().and_then(|size| usize::try_from(size).ok())).collect::<Option<Vec<_>>>();
    let value = shape.and_then(|shape| {
        let count = element_count(&shape)?;
        let element = ShapeValue::from_constant("", &fill).filter(ShapeValue::is_integral)?.elements.first()?.clone();
        ShapeValue::new(shape, vec![element; count])
    });
    Ok(vec![Fact::new(Some(fill.dtype), dims).with_value(value)])
}

fn shape(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let rank = dims.len() as i64;
    let bound = |value: i64| if value < 0 { value.saturating_add(rank) } else { value }.clamp(0, rank) as usize;
    let (start, end) = (bound(call.int("start", 0)), bound(call.int("end", rank)));
    let kept = dims.get(start..end.max(start)).unwrap_or_default().to_vec();
    let value = ShapeValue::new(vec![kept.len()], kept).ok_or("the shape is too long")?;
    Ok(vec![Fact::of_value(Some(DataType::Int64), value)])
}

fn size(call: &Call) -> Outputs {
    Ok(vec![Fact::of_value(Some(DataType::Int64), ShapeValue::scalar(Dim::product(call.dims(0)?)))])
}

fn range(call: &Call) -> Outputs {
    let dtype = call.dtype(0);
    let one = |slot: usize| call.value(slot).and_then(|value| value.fraction(0));
    let (Some(start), Some(limit), Some(delta)) = (one(0), one(1), one(2)) else {
        return Ok(vec![Fact::new(dtype, vec![call.data(0, 0)])]);
    };
    // ⌈(limit − start) ÷ delta⌉ over one denominator
    let span = limit.0.mul(&start.1).sub(&start.0.mul(&limit.1)).mul(&delta.1);
    let step = delta.0.mul(&limit.1).mul(&start.1);
    let count = span.ceil_div(&step).maximum(&Dim::known(0));
    let known = count.as_known().and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= MAX_ELEMENTS);
    let integral = start.1.is(1) && delta.1.is(1);
    let value = known.filter(|_| integral).and_then(|count| {
        let element = |i: usize| start.0.add(&delta.0.mul(&Dim::known(i as i64)));
        ShapeValue::new(vec![count], (0..count).map(element).collect())
    });
    Ok(vec![Fact::new(dtype, vec![count]).with_value(value)])
}

fn random(call: &Call) -> Outputs {
    let shape = call.node.ints("shape").ok_or("it has no shape")?;
    let dtype = DataType::from_number(i32::try_from(call.int("dtype", 1)).unwrap_or(0));
    Ok(vec![Fact::new(dtype, shape.iter().map(|size| Dim::known(*size)).collect())])
}

fn like(call: &Call) -> Outputs {
    let dtype = call.node.int("dtype").and_then(|number| DataType::from_number(i32::try_from(number).ok()?));
    Ok(vec![Fact::new(dtype.or(call.dtype(0)), call.dims(0)?.to_vec())])
}
