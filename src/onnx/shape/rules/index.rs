//! Operators that read or write at given positions: Gather and Scatter in all their forms.

use super::elementwise::axis_attribute;
use super::{AI, Family};
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};
use crate::onnx::shape::value::ShapeValue;

pub const FAMILIES: &[Family] = &[
    (AI, &["Gather"], gather),
    (AI, &["GatherElements"], gather_elements),
    (AI, &["GatherND"], gather_nd),
    (AI, &["Scatter", "ScatterElements", "TensorScatter"], scatter),
    (AI, &["ScatterND"], scatter_nd),
];

fn gather(call: &Call) -> Outputs {
    let (data, indices) = (call.dims(0)?, call.dims(1)?);
    let axis = axis_attribute(call, 0, data.len())?;
    let dims: Vec<Dim> = data[..axis].iter().chain(indices).chain(&data[axis + 1..]).cloned().collect();
    let value = gathered(call, axis);
    Ok(vec![Fact::new(call.dtype(0), dims).with_value(value)])
}

fn gathered(call: &Call, axis: usize) -> Option<ShapeValue> {
    let (data, indices) = (call.value(0)?, call.integers(1)?);
    let size = *data.shape.get(axis)?;
    let (outer, inner) =
        (data.shape[..axis].iter().product::<usize>(), data.shape[axis + 1..].iter().product::<usize>());
    let chosen = indices.known()?.into_iter().map(|index| wrapped(index, size)).collect::<Option<Vec<_>>>()?;
    let mut positions = Vec::new();
    for block in 0..outer {
        for index in &chosen {
            positions.extend((0..inner).map(|rest| (block * size + index) * inner + rest));
        }
    }
    let shape = [&data.shape[..axis], &indices.shape, &data.shape[axis + 1..]].concat();
    data.pick(shape, &positions)
}

/// An index counted from the end where it is negative.
fn wrapped(index: i64, size: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(size as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < size)
}

fn gather_elements(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), call.dims(1)?.to_vec())])
}

fn gather_nd(call: &Call) -> Outputs {
    let (data, indices) = (call.dims(0)?, call.dims(1)?);
    let batch = usize::try_from(call.int("batch_dims", 0)).map_err(|_| "its batch_dims is negative")?;
    let depth = indices.last().and_then(Dim::as_known).and_then(|depth| usize::try_from(depth).ok());
    let depth = depth.ok_or("the length of its indices is unknown")?;
    let rest =
        batch.checked_add(depth).and_then(|from| data.get(from..)).ok_or("its indices are longer than its data")?;
    let dims: Vec<Dim> = indices[..indices.len() - 1].iter().chain(rest).cloned().collect();
    let value = (batch == 0).then(|| gathered_nd(call, depth, &dims)).flatten();
    Ok(vec![Fact::new(call.dtype(0), dims).with_value(value)])
}

/// The position that one row of indices points to, and the length of what lies there.
fn offset(shape: &[usize], row: &[i64]) -> Option<(usize, usize)> {
    let inner: usize = shape.get(row.len()..)?.iter().product();
    let index = row.iter().zip(shape).try_fold(0, |index, (i, size)| Some(index * size + wrapped(*i, *size)?))?;
    Some((index * inner, inner))
}

fn gathered_nd(call: &Call, depth: usize, dims: &[Dim]) -> Option<ShapeValue> {
    let (data, indices) = (call.value(0)?, call.integers(1)?);
    let mut positions = Vec::new();
    for row in indices.known()?.chunks_exact(depth.max(1)) {
        let (start, length) = offset(&data.shape, row)?;
        positions.extend(start..start + length);
    }
    let shape = dims.iter().map(|dim| usize::try_from(dim.as_known()?).ok()).collect::<Option<Vec<_>>>()?;
    data.pick(shape, &positions)
}

fn scatter(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.to_vec())])
}

fn scatter_nd(call: &Call) -> Outputs {
    let plain = call.node.text("reduction").is_none_or(|reduction| reduction == "none");
    let value = plain.then(|| scattered_nd(call)).flatten();
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.to_vec()).with_value(value)])
}

fn scattered_nd(call: &Call) -> Option<ShapeValue> {
    let (data, indices, updates) = (call.value(0)?, call.integers(1)?, call.value(2)?);
    let depth = *indices.shape.last()?;
    let both = data.chain(updates)?;
    let mut positions: Vec<usize> = (0..data.elements.len()).collect();
    let mut next = data.elements.len();
    for row in indices.known()?.chunks_exact(depth.max(1)) {
        let (start, length) = offset(&data.shape, row)?;
        for position in positions.get_mut(start..start + length)? {
            *position = next;
            next += 1;
        }
    }
    both.pick(data.shape.clone(), &positions)
}
