//! Operators that order the same elements anew: Reshape, Flatten, Transpose, Squeeze, Unsqueeze, depth and space.

use super::{AI, Family};
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, MAX_RANK, Outputs, axes_of, axis_of};
use crate::onnx::shape::value::ShapeValue;

pub const FAMILIES: &[Family] = &[
    (AI, &["Reshape"], reshape),
    (AI, &["Flatten"], flatten),
    (AI, &["Transpose"], transpose),
    (AI, &["Squeeze"], squeeze),
    (AI, &["Unsqueeze"], unsqueeze),
    (AI, &["DepthToSpace"], depth_to_space),
    (AI, &["SpaceToDepth"], space_to_depth),
];

/// The value in the shape of `dims`, where those are numbers.
fn regrouped(call: &Call, dims: &[Dim]) -> Option<ShapeValue> {
    let shape = dims.iter().map(|dim| usize::try_from(dim.as_known()?).ok()).collect::<Option<Vec<_>>>()?;
    call.value(0)?.reshaped(shape)
}

fn with_dims(call: &Call, dims: Vec<Dim>) -> Outputs {
    let value = regrouped(call, &dims);
    Ok(vec![Fact::new(call.dtype(0), dims).with_value(value)])
}

fn reshape(call: &Call) -> Outputs {
    let target: Vec<Dim> = if let Some(shape) = call.node.ints("shape") {
        shape.iter().map(|size| Dim::known(*size)).collect()
    } else if let Some(value) = call.integers(1) {
        value.elements.clone()
    } else {
        let dims = super::constant::asked_shape(call, 1)?;
        return Ok(vec![Fact::new(call.dtype(0), dims)]);
    };
    if target.len() > MAX_RANK {
        return Err("it asks for too many axes".into());
    }
    let source = call.optional(0).and_then(|fact| fact.dims.as_deref());
    let allow_zero = call.int("allowzero", 0) != 0;
    let mut dims = Vec::with_capacity(target.len());
    let mut open = None;
    for (axis, size) in target.iter().enumerate() {
        if size.is(0) && !allow_zero {
            let kept = source.ok_or("the rank of its input is unknown")?.get(axis);
            dims.push(kept.ok_or("it keeps an axis that its input does not have")?.clone());
        } else if size.is(-1) {
            if open.replace(axis).is_some() {
                return Err("it leaves two axes open".into());
            }
            dims.push(Dim::known(1));
        } else {
            dims.push(size.clone());
        }
    }
    if let Some(axis) = open {
        let others = Dim::product(&dims);
        dims[axis] = match source {
            Some(source) => Dim::product(source).div_exact(&others).unwrap_or_else(|| {
                let total = Dim::product(source);
                // Where the division is not plainly exact, the runtime's check makes it so.
                if others.is(0) || total.as_known().is_some() && others.as_known().is_some() {
                    call.data(0, axis)
                } else {
                    total.floor_div(&others)
                }
            }),
            None => call.data(0, axis),
        };
    }
    with_dims(call, dims)
}

fn flatten(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let rank = dims.len() as i64;
    let axis = call.int("axis", 1);
    let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
    let axis = usize::try_from(axis).ok().filter(|axis| *axis <= dims.len()).ok_or("its axis is outside")?;
    with_dims(call, vec![Dim::product(&dims[..axis]), Dim::product(&dims[axis..])])
}

fn transpose(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let order = match call.node.ints("perm") {
        Some(perm) => perm.iter().map(|axis| axis_of(*axis, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).rev().collect(),
    };
    let mut seen = order.clone();
    seen.sort_unstable();
    if seen != (0..dims.len()).collect::<Vec<_>>() {
        return Err("its perm is not a permutation of the axes".into());
    }
    let value = call.value(0).and_then(|value| permuted(value, &order));
    Ok(vec![Fact::new(call.dtype(0), order.iter().map(|axis| dims[*axis].clone()).collect()).with_value(value)])
}

fn permuted(value: &ShapeValue, order: &[usize]) -> Option<ShapeValue> {
    if value.shape.len() != order.len() {
        return None;
    }
    let shape: Vec<usize> = order.iter().map(|axis| value.shape[*axis]).collect();
    let mut strides = vec![1; value.shape.len()];
    for axis in (1..value.shape.len()).rev() {
        strides[axis - 1] = strides[axis] * value.shape[axis];
    }
    let positions: Vec<usize> = (0..value.elements.len())
        .map(|flat| {
            let (mut rest, mut position) = (flat, 0);
            for axis in (0..shape.len()).rev() {
                position += rest % shape[axis] * strides[order[axis]];
                rest /= shape[axis];
            }
            position
        })
        .collect();
    value.pick(shape, &positions)
}

fn squeeze(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let axes = if let Some(axes) = call.numbers_from("axes", 1)? {
        axes_of(&axes, dims.len())?
    } else {
        if dims.iter().any(|dim| dim.as_known().is_none() && dim.lower_bound().is_none_or(|bound| bound <= 1)) {
            return Err("which axes have the size 1 is unknown".into());
        }
        (0..dims.len()).filter(|axis| dims[*axis].is(1)).collect()
    };
    with_dims(
        call,
        dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, dim)| dim.clone()).collect(),
    )
}

fn unsqueeze(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let axes = call.numbers_from("axes", 1)?.ok_or("it names no axes")?;
    let rank = dims.len() + axes.len();
    if rank > MAX_RANK {
        return Err("it makes too many axes".into());
    }
    let axes = axes_of(&axes, rank)?;
    let mut rest = dims.iter();
    let shape = (0..rank)
        .map(|axis| if axes.contains(&axis) { Dim::known(1) } else { rest.next().cloned().unwrap_or(Dim::known(1)) })
        .collect();
    with_dims(call, shape)
}

fn block(call: &Call) -> Result<(Dim, [Dim; 4]), String> {
    let dims = call.dims(0)?;
    let size = call.node.int("blocksize").filter(|size| *size > 0).ok_or("its block size is not positive")?;
    let [n, c, h, w] = dims else { return Err("its input does not have 4 axes".into()) };
    Ok((Dim::known(size), [n.clone(), c.clone(), h.clone(), w.clone()]))
}

fn depth_to_space(call: &Call) -> Outputs {
    let (size, [n, c, h, w]) = block(call)?;
    Ok(vec![Fact::new(call.dtype(0), vec![n, c.floor_div(&size.mul(&size)), h.mul(&size), w.mul(&size)])])
}

fn space_to_depth(call: &Call) -> Outputs {
    let (size, [n, c, h, w]) = block(call)?;
    Ok(vec![Fact::new(call.dtype(0), vec![n, c.mul(&size).mul(&size), h.floor_div(&size), w.floor_div(&size)])])
}
