//! Operators whose results are counts or choices: OneHot, TopK, NonZero, NonMaxSuppression, Unique, Compress.

use super::elementwise::axis_attribute;
use super::{AI, Family};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axis_of};

pub const FAMILIES: &[Family] = &[
    (AI, &["OneHot"], one_hot),
    (AI, &["TopK"], top_k),
    (AI, &["NonZero"], non_zero),
    (AI, &["NonMaxSuppression"], non_max_suppression),
    (AI, &["Unique"], unique),
    (AI, &["Compress"], compress),
    (AI, &["Multinomial"], multinomial),
];

fn one_hot(call: &Call) -> Outputs {
    let indices = call.dims(0)?;
    let depth = call.integers(1).and_then(|value| value.elements.first().cloned());
    let axis = axis_of(call.int("axis", -1), indices.len() + 1)?;
    let mut dims = indices.to_vec();
    dims.insert(axis, depth.unwrap_or_else(|| call.data(0, axis)));
    Ok(vec![Fact::new(call.dtype(2), dims)])
}

fn top_k(call: &Call) -> Outputs {
    let mut dims = call.dims(0)?.to_vec();
    let axis = axis_attribute(call, -1, dims.len())?;
    let count = match call.node.int("k") {
        Some(k) => Some(Dim::known(k)),
        None => call.integers(1).and_then(|value| value.elements.first().cloned()),
    };
    dims[axis] = count.unwrap_or_else(|| call.data(0, axis));
    Ok(vec![Fact::new(call.dtype(0), dims.clone()), Fact::new(Some(DataType::Int64), dims)])
}

fn non_zero(call: &Call) -> Outputs {
    let rank = call.dims(0)?.len().max(1);
    Ok(vec![Fact::new(Some(DataType::Int64), vec![Dim::known(rank as i64), call.data(0, 1)])])
}

fn non_max_suppression(call: &Call) -> Outputs {
    Ok(vec![Fact::new(Some(DataType::Int64), vec![call.data(0, 0), Dim::known(3)])])
}

fn unique(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let found = call.data(0, 0);
    let unique = match call.node.int("axis") {
        Some(axis) => {
            let axis = axis_of(axis, dims.len())?;
            let mut unique = dims.to_vec();
            unique[axis] = found.clone();
            unique
        }
        None => vec![found.clone()],
    };
    let all = match call.node.int("axis") {
        Some(axis) => dims[axis_of(axis, dims.len())?].clone(),
        None => Dim::product(dims),
    };
    let index = |size: Dim| Fact::new(Some(DataType::Int64), vec![size]);
    Ok(vec![Fact::new(call.dtype(0), unique), index(found.clone()), index(all), index(found)])
}

fn compress(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let Some(axis) = call.node.int("axis") else {
        return Ok(vec![Fact::new(call.dtype(0), vec![call.data(0, 0)])]);
    };
    let axis = axis_of(axis, dims.len())?;
    let mut kept = dims.to_vec();
    // Elements behind the end of a short condition are left out.
    let chosen = call.numbers(1).ok().map(|condition| condition.iter().filter(|chosen| **chosen != 0).count() as i64);
    kept[axis] = chosen.map_or_else(|| call.data(0, axis), Dim::known);
    Ok(vec![Fact::new(call.dtype(0), kept)])
}

fn multinomial(call: &Call) -> Outputs {
    let batch = call.dims(0)?.first().ok_or("its input has no axis")?.clone();
    let dtype = DataType::from_number(i32::try_from(call.int("dtype", 6)).unwrap_or(0));
    Ok(vec![Fact::new(dtype, vec![batch, Dim::known(call.int("sample_size", 1))])])
}
