//! Operators that put tensors together or apart along an axis, or repeat them: Concat, Split, Expand, Tile, Pad.

use super::elementwise::axis_attribute;
use super::{AI, Family, MS};
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axes_of, broadcast};
use crate::onnx::shape::value::{MAX_ELEMENTS, ShapeValue, element_count};

pub const FAMILIES: &[Family] = &[
    (AI, &["Concat"], concat),
    (AI, &["Split"], split),
    (AI, &["Expand"], expand),
    (AI, &["Tile"], tile),
    (AI, &["Pad"], pad),
    (MS, &["Pad"], pad),
];

fn concat(call: &Call) -> Outputs {
    let rank = call.dims(0)?.len();
    // Version 1 had a default axis.
    let axis = axis_attribute(call, 1, rank)?;
    let mut dims = call.dims(0)?.to_vec();
    for slot in 1..call.inputs.len() {
        let other = call.dims(slot)?;
        if other.len() != rank {
            return Err(format!("inputs have {rank} and {} axes", other.len()));
        }
        for (i, size) in other.iter().enumerate() {
            if i == axis {
                dims[i] = dims[i].add(size);
            } else if dims[i].as_known().is_none() {
                // All agree at run time: a number says more than a symbol.
                dims[i] = size.clone();
            } else if size.as_known().is_some_and(|size| !dims[i].is(size)) {
                return Err(format!("inputs differ on axis {i}: {} and {size}", dims[i]));
            }
        }
    }
    let value = if rank == 1 { joined(call) } else { None };
    Ok(vec![Fact::new(call.dtype(0), dims).with_value(value)])
}

/// The elements of vectors in one vector; symbols stand for those that are not followed where others are.
fn joined(call: &Call) -> Option<ShapeValue> {
    (0..call.inputs.len()).find_map(|slot| call.value(slot))?;
    let mut all = call.value_or_symbols(0)?;
    for slot in 1..call.inputs.len() {
        all = all.chain(&call.value_or_symbols(slot)?)?;
    }
    Some(all)
}

fn split(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let axis = axis_attribute(call, 0, dims.len())?;
    let count = call.node.output.len();
    let part = |size: Dim| {
        let mut part = dims.to_vec();
        part[axis] = size;
        part
    };
    let sizes: Vec<Dim> = if let Some(sizes) = call.node.ints("split") {
        sizes.iter().map(|size| Dim::known(*size)).collect()
    } else if call.optional(1).is_some() {
        match call.integers(1) {
            Some(sizes) => sizes.elements.clone(),
            None => (0..count).map(|output| call.data(output, axis)).collect(),
        }
    } else {
        let parts = Dim::known((count as i64).max(1));
        let chunk = dims[axis].ceil_div(&parts);
        let last = dims[axis].sub(&chunk.mul(&Dim::known(count as i64 - 1)));
        (0..count).map(|output| if output + 1 == count { last.clone() } else { chunk.clone() }).collect()
    };
    let mut start = Some(0_usize);
    let facts = sizes.into_iter().take(count).map(|size| {
        let length = size.as_known().and_then(|size| usize::try_from(size).ok());
        let from = start;
        start = start.zip(length).and_then(|(start, length)| start.checked_add(length));
        let value = call
            .value(0)
            .filter(|value| value.shape.len() == 1)
            .and_then(|value| value.pick(vec![length?], &(from?..start?).collect::<Vec<_>>()));
        Fact::new(call.dtype(0), part(size)).with_value(value)
    });
    Ok(facts.collect())
}

fn expand(call: &Call) -> Outputs {
    let dims = call.dims(0)?.to_vec();
    let target = super::constant::asked_shape(call, 1)?;
    let dims = broadcast(&dims, &target)?;
    let value = repeated(call, &dims);
    Ok(vec![Fact::new(call.dtype(0), dims).with_value(value)])
}

fn repeated(call: &Call, dims: &[Dim]) -> Option<ShapeValue> {
    let value = call.value(0)?;
    let shape = dims.iter().map(|dim| usize::try_from(dim.as_known()?).ok()).collect::<Option<Vec<_>>>()?;
    let count = element_count(&shape)?;
    let frame = ShapeValue::new(shape, vec![Dim::known(0); count])?;
    let (shape, pairs) = frame.broadcast(value)?;
    value.pick(shape, &pairs.into_iter().map(|pair| pair.1).collect::<Vec<_>>())
}

fn tile(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let Some(repeats) = call.integers(1) else {
        return Ok(vec![Fact::new(call.dtype(0), call.unknown_dims(0, dims.len()))]);
    };
    if repeats.elements.len() != dims.len() {
        return Err("it repeats another number of axes than there are".into());
    }
    let tiled: Vec<Dim> = dims.iter().zip(&repeats.elements).map(|(dim, times)| dim.mul(times)).collect();
    let value = call.value(0).filter(|value| value.shape.len() == 1).and_then(|value| {
        let length = value.elements.len();
        let count = usize::try_from(tiled[0].as_known()?).ok().filter(|count| *count <= MAX_ELEMENTS)?;
        value.pick(vec![count], &(0..count).map(|i| i % length.max(1)).collect::<Vec<_>>())
    });
    Ok(vec![Fact::new(call.dtype(0), tiled).with_value(value)])
}

fn pad(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let amounts = call.node.ints("pads").or_else(|| call.node.ints("paddings"));
    let amounts: Vec<Dim> = if let Some(amounts) = amounts {
        amounts.iter().map(|amount| Dim::known(*amount)).collect()
    } else if let Some(value) = call.integers(1) {
        value.elements.clone()
    } else {
        return Ok(vec![Fact::new(call.dtype(0), call.unknown_dims(0, dims.len()))]);
    };
    let axes = match call.optional(3) {
        Some(_) => call
            .numbers(3)?
            .iter()
            .map(|axis| super::super::fact::axis_of(*axis, dims.len()))
            .collect::<Result<_, _>>()?,
        None => (0..dims.len()).collect::<Vec<usize>>(),
    };
    axes_of(&axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>(), dims.len())?;
    if amounts.len() != 2 * axes.len() {
        return Err(format!("{} amounts do not pad {} axes", amounts.len(), axes.len()));
    }
    let mut padded = dims.to_vec();
    for (i, axis) in axes.iter().enumerate() {
        padded[*axis] = padded[*axis].add(&amounts[i]).add(&amounts[i + axes.len()]);
    }
    Ok(vec![Fact::new(call.dtype(0), padded)])
}
