//! Pooling: windows, whole planes, regions.

use super::conv::Window;
use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};

pub const FAMILIES: &[Family] = &[
    (AI, &["MaxPool", "AveragePool", "LpPool"], pool),
    (MS, &["QLinearAveragePool"], qlinear_pool),
    (AI, &["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"], global),
    (MS, &["QLinearGlobalAveragePool"], qlinear_global),
    (AI, &["Col2Im"], columns),
    (AI, &["MaxUnpool"], unpool),
    (AI, &["MaxRoiPool"], roi_pool),
    (AI, &["RoiAlign"], roi_align),
];

fn pooled(call: &Call) -> Result<Vec<Dim>, String> {
    let input = call.dims(0)?;
    let spatial = input.len().checked_sub(2).ok_or("its input has fewer than 2 axes")?;
    let window = Window::new(call, spatial, None)?;
    let mut dims = input[..2].to_vec();
    dims.extend((0..spatial).map(|axis| window.positions(axis, &input[axis + 2])));
    Ok(dims)
}

fn pool(call: &Call) -> Outputs {
    let dims = pooled(call)?;
    Ok(vec![Fact::new(call.dtype(0), dims.clone()), Fact::new(Some(DataType::Int64), dims)])
}

fn qlinear_pool(call: &Call) -> Outputs {
    if call.int("channels_last", 0) != 0 {
        return Err("its layout is not followed".into());
    }
    Ok(vec![Fact::new(call.dtype(0), pooled(call)?)])
}

fn global(call: &Call) -> Outputs {
    let input = call.dims(0)?;
    if input.len() < 2 {
        return Err("its input has fewer than 2 axes".into());
    }
    let dims =
        input.iter().enumerate().map(|(axis, size)| if axis < 2 { size.clone() } else { Dim::known(1) }).collect();
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

fn qlinear_global(call: &Call) -> Outputs {
    if call.int("channels_last", 0) != 0 {
        return Err("its layout is not followed".into());
    }
    global(call)
}

/// Blocks side by side, put together to an image.
fn columns(call: &Call) -> Outputs {
    let (input, image, block) = (call.dims(0)?, call.numbers(1)?, call.numbers(2)?);
    let [batch, channels, _] = input else { return Err("its input is not made of blocks".into()) };
    let places =
        block.iter().try_fold(1_i64, |places, size| places.checked_mul(*size)).ok_or("its blocks are too large")?;
    let channels = channels.div_exact(&Dim::known(places)).ok_or("its channels do not divide into blocks")?;
    let dims = [batch.clone(), channels].into_iter().chain(image.into_iter().map(Dim::known)).collect();
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

fn unpool(call: &Call) -> Outputs {
    if call.optional(2).is_some() {
        return Ok(vec![Fact::new(call.dtype(0), super::constant::asked_shape(call, 2)?)]);
    }
    let input = call.dims(0)?;
    let spatial = input.len().checked_sub(2).ok_or("its input has fewer than 2 axes")?;
    let window = Window::new(call, spatial, None)?;
    let pads = call.node.ints("pads").unwrap_or_default();
    let mut dims = input[..2].to_vec();
    for axis in 0..spatial {
        let pad = |i: usize| Dim::known(pads.get(i).copied().unwrap_or(0));
        let grown = input[axis + 2].sub(&Dim::known(1)).mul(&window.strides[axis]).add(&window.kernel[axis]);
        dims.push(grown.sub(&pad(axis)).sub(&pad(axis + spatial)));
    }
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

fn regions(call: &Call, height: i64, width: i64) -> Outputs {
    let channels = call.dims(0)?.get(1).ok_or("its input has no channels")?.clone();
    let count = call.dims(1)?.first().ok_or("its regions have no axis")?.clone();
    Ok(vec![Fact::new(call.dtype(0), vec![count, channels, Dim::known(height), Dim::known(width)])])
}

fn roi_pool(call: &Call) -> Outputs {
    match call.node.ints("pooled_shape") {
        Some([height, width]) => regions(call, *height, *width),
        _ => Err("its pooled_shape does not have two sizes".into()),
    }
}

fn roi_align(call: &Call) -> Outputs {
    regions(call, call.int("output_height", 1), call.int("output_width", 1))
}
