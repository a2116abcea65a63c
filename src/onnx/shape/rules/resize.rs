//! Operators that sample images anew: Resize, Upsample, GridSample, crops.

use super::{AI, Family};
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axis_of};
use crate::onnx::shape::value::ShapeValue;

pub const FAMILIES: &[Family] = &[
    (AI, &["Resize"], resize),
    (AI, &["Upsample"], upsample),
    (AI, &["GridSample"], grid_sample),
    (AI, &["AffineGrid"], affine_grid),
    (AI, &["CenterCropPad"], center_crop_pad),
    (AI, &["Crop"], crop),
];

/// ⌊size × scale⌋ as the runtime computes it: in 32-bit floats where both are numbers, else by exact fractions.
fn scaled(size: &Dim, exact: Option<&(Dim, Dim)>, float: Option<f32>) -> Option<Dim> {
    if let (Some(size), Some(scale)) = (size.as_known(), float) {
        return Some(Dim::known((size as f32 * scale).floor() as i64));
    }
    exact.map(|(numerator, denominator)| size.mul(numerator).floor_div(denominator))
}

/// Sizes after scaling each axis by an element of input `slot`; an axis whose scale is not followed is opaque.
fn by_scales(call: &Call, slot: usize, axes: &[usize]) -> Result<Vec<Dim>, String> {
    let mut dims = call.dims(0)?.to_vec();
    let floats = call.optional(slot).and_then(|fact| fact.floats.clone());
    let exact = call.value(slot);
    let count = floats.as_ref().map_or(exact.map_or(axes.len(), |value| value.elements.len()), |floats| floats.len());
    if count != axes.len() {
        return Err(format!("{count} scales do not fit {} axes", axes.len()));
    }
    for (i, axis) in axes.iter().enumerate() {
        let fraction = exact.and_then(|value: &ShapeValue| value.fraction(i));
        let float = floats.as_ref().and_then(|floats| floats.get(i).copied());
        dims[*axis] = scaled(&dims[*axis], fraction.as_ref(), float).unwrap_or_else(|| call.data(0, *axis));
    }
    Ok(dims)
}

fn resize(call: &Call) -> Outputs {
    let rank = call.dims(0)?.len();
    let axes = match call.node.ints("axes") {
        Some(axes) => axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    // Version 10 had (X, scales); since 11 it is (X, roi, scales, sizes), and absent inputs may be empty tensors.
    let empty = |slot: usize| call.dims(slot).is_ok_and(|dims| dims.len() == 1 && dims[0].is(0));
    let sizes = call.optional(3).is_some() && !empty(3);
    if !sizes {
        let slot = if call.inputs.len() == 2 { 1 } else { 2 };
        return Ok(vec![Fact::new(call.dtype(0), by_scales(call, slot, &axes)?)]);
    }
    let mut dims = call.dims(0)?.to_vec();
    let policy = call.node.text("keep_aspect_ratio_policy").unwrap_or("stretch");
    let target = call.value_or_symbols(3).filter(|value| value.is_integral() && value.elements.len() == axes.len());
    let Some(target) = target else {
        for axis in axes {
            dims[axis] = call.data(0, axis);
        }
        return Ok(vec![Fact::new(call.dtype(0), dims)]);
    };
    if policy == "stretch" {
        for (axis, size) in axes.into_iter().zip(target.elements) {
            dims[axis] = size;
        }
        return Ok(vec![Fact::new(call.dtype(0), dims)]);
    }
    let numbers: Option<Vec<(f32, i64)>> = axes
        .iter()
        .zip(&target.elements)
        .map(|(axis, size)| Some((size.as_known()? as f32, dims[*axis].as_known()?)))
        .collect();
    let scale = numbers.map(|numbers| {
        let ratios = numbers.iter().map(|(target, size)| target / *size as f32);
        if policy == "not_larger" { ratios.fold(f32::INFINITY, f32::min) } else { ratios.fold(0.0, f32::max) }
    });
    for axis in axes {
        dims[axis] = match (scale, dims[axis].as_known()) {
            (Some(scale), Some(size)) => Dim::known((scale * size as f32).round() as i64),
            _ => call.data(0, axis),
        };
    }
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

fn upsample(call: &Call) -> Outputs {
    let rank = call.dims(0)?.len();
    let attribute = call.node.find_attribute("scales").map(|attribute| attribute.floats.clone());
    let older = || Some(vec![1.0, 1.0, call.node.float("height_scale")?, call.node.float("width_scale")?]);
    let Some(scales) = attribute.or_else(older) else {
        return Ok(vec![Fact::new(call.dtype(0), by_scales(call, 1, &(0..rank).collect::<Vec<_>>())?)]);
    };
    if scales.len() != rank {
        return Err(format!("{} scales do not fit {rank} axes", scales.len()));
    }
    let constant = ShapeValue::from_constant("", &crate::onnx::tensor::Tensor::from_f32(&[rank], &scales));
    let size = |(axis, dim): (usize, &Dim)| {
        let exact = constant.as_ref().and_then(|value| value.fraction(axis));
        scaled(dim, exact.as_ref(), Some(scales[axis])).unwrap_or_else(|| call.data(0, axis))
    };
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.iter().enumerate().map(size).collect())])
}

fn grid_sample(call: &Call) -> Outputs {
    let (input, grid) = (call.dims(0)?, call.dims(1)?);
    if input.len() < 3 || grid.len() != input.len() {
        return Err("its grid does not fit its input".into());
    }
    let dims = input[..2].iter().chain(&grid[1..grid.len() - 1]).cloned().collect();
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

fn affine_grid(call: &Call) -> Outputs {
    let size = super::constant::asked_shape(call, 1)?;
    let (batch, spatial) = (size.first().ok_or("its size is empty")?.clone(), size.get(2..).unwrap_or_default());
    let dims = std::iter::once(batch).chain(spatial.iter().cloned());
    Ok(vec![Fact::new(call.dtype(0), dims.chain([Dim::known(spatial.len() as i64)]).collect())])
}

fn center_crop_pad(call: &Call) -> Outputs {
    let mut dims = call.dims(0)?.to_vec();
    let target = super::constant::asked_shape(call, 1)?;
    let axes = match call.node.ints("axes") {
        Some(axes) => axes.iter().map(|axis| axis_of(*axis, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).collect(),
    };
    if axes.len() != target.len() {
        return Err("its shape does not fit its axes".into());
    }
    for (axis, size) in axes.into_iter().zip(target) {
        dims[axis] = size;
    }
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

/// The experimental operator of early converters: borders (left, top, right, bottom), or a size (height, width) behind them.
fn crop(call: &Call) -> Outputs {
    let [n, c, h, w] = call.dims(0)? else { return Err("its input does not have 4 axes".into()) };
    let border = call.node.ints("border").unwrap_or(&[0; 4]);
    let [left, top, right, bottom] = *border else { return Err("its border does not have 4 sizes".into()) };
    let cut = |size: &Dim, a: i64, b: i64| size.sub(&Dim::known(a)).sub(&Dim::known(b));
    let (height, width) = match call.node.ints("scale") {
        Some([height, width]) => (Dim::known(*height), Dim::known(*width)),
        _ => (cut(h, top, bottom), cut(w, left, right)),
    };
    Ok(vec![Fact::new(call.dtype(0), vec![n.clone(), c.clone(), height, width])])
}
