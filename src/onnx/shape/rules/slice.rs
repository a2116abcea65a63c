//! Slice: attributes before opset 10, inputs since.

use super::{AI, Family};
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axis_of};
use crate::onnx::shape::value::ShapeValue;

pub const FAMILIES: &[Family] = &[(AI, &["Slice"], slice)];

/// The bounds of one axis.
struct Cut {
    axis: usize,
    start: Dim,
    end: Dim,
    step: i64,
}

fn slice(call: &Call) -> Outputs {
    let dims = call.dims(0)?;
    let Some(cuts) = cuts(call, dims.len())? else {
        // Only the axes that are cut change, but which those are is not known either.
        return Ok(vec![Fact::new(call.dtype(0), call.unknown_dims(0, dims.len()))]);
    };
    let mut sliced = dims.to_vec();
    for cut in &cuts {
        sliced[cut.axis] = length(&dims[cut.axis], cut).unwrap_or_else(|| call.data(0, cut.axis));
    }
    let value = match (call.value(0), cuts.as_slice()) {
        (Some(value), _) => picked(value, &cuts),
        _ => None,
    };
    Ok(vec![Fact::new(call.dtype(0), sliced).with_value(value)])
}

/// The cuts; `None` where bounds are unknown as a whole.
fn cuts(call: &Call, rank: usize) -> Result<Option<Vec<Cut>>, String> {
    let numbers = |values: &[i64]| values.iter().map(|value| Dim::known(*value)).collect::<Vec<_>>();
    let (starts, ends, axes, steps);
    if let (Some(from), Some(to)) = (call.node.ints("starts"), call.node.ints("ends")) {
        (starts, ends, axes, steps) = (numbers(from), numbers(to), call.node.ints("axes").map(<[i64]>::to_vec), None);
    } else {
        let (Some(from), Some(to)) = (call.value_or_symbols(1), call.value_or_symbols(2)) else { return Ok(None) };
        (starts, ends) = (from.elements, to.elements);
        axes = call.optional(3).map(|_| call.numbers(3)).transpose()?;
        steps = call.optional(4).map(|_| call.numbers(4)).transpose()?;
    }
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() || steps.contains(&0) {
        return Err("its bounds do not match".into());
    }
    let cut = |(((start, end), axis), step): (((Dim, Dim), i64), i64)| {
        Ok(Cut { axis: axis_of(axis, rank)?, start, end, step })
    };
    starts.into_iter().zip(ends).zip(axes).zip(steps).map(cut).collect::<Result<Vec<_>, String>>().map(Some)
}

/// A bound counted from the front, within 0 and the size (one less at both ends for a negative step).
fn clamped(bound: &Dim, size: &Dim, backwards: bool, is_end: bool) -> Option<Dim> {
    // Values near the ends of the type mean "all the way".
    let far = i64::from(i32::MAX) - 1;
    let known = bound.as_known();
    let last = size.sub(&Dim::known(1));
    if known.is_some_and(|bound| bound >= far) {
        return Some(if backwards { last } else { size.clone() });
    }
    if known.is_some_and(|bound| bound <= -far) {
        return Some(if backwards && is_end { Dim::known(-1) } else { Dim::known(0) });
    }
    let from_front = match (known, bound.lower_bound()) {
        (Some(bound), _) if bound < 0 => size.add(&Dim::known(bound)),
        (_, Some(0..)) => bound.clone(),
        // −x counts from the back where x is at least 1.
        _ if bound.mul(&Dim::known(-1)).lower_bound()? >= 1 => size.add(bound),
        _ => return None,
    };
    Some(if backwards {
        from_front.minimum(&last).maximum(&Dim::known(if is_end { -1 } else { 0 }))
    } else {
        from_front.minimum(size).maximum(&Dim::known(0))
    })
}

fn length(size: &Dim, cut: &Cut) -> Option<Dim> {
    let backwards = cut.step < 0;
    let start = clamped(&cut.start, size, backwards, false)?;
    let end = clamped(&cut.end, size, backwards, true)?;
    let span = if backwards { start.sub(&end) } else { end.sub(&start) };
    Some(span.ceil_div(&Dim::known(cut.step.checked_abs()?)).maximum(&Dim::known(0)))
}

/// The elements that are left, where all bounds are numbers.
fn picked(value: &ShapeValue, cuts: &[Cut]) -> Option<ShapeValue> {
    let mut value = value.clone();
    for cut in cuts {
        let size = *value.shape.get(cut.axis)?;
        let length =
            length(&Dim::known(size as i64), cut)?.as_known().and_then(|length| usize::try_from(length).ok())?;
        let start = clamped(&cut.start, &Dim::known(size as i64), cut.step < 0, false)?.as_known()?;
        let inner: usize = value.shape[cut.axis + 1..].iter().product();
        let outer: usize = value.shape[..cut.axis].iter().product();
        let mut positions = Vec::new();
        for block in 0..outer {
            for i in 0..length {
                let index = usize::try_from(start.checked_add(cut.step.checked_mul(i as i64)?)?).ok()?;
                positions.extend((0..inner).map(|rest| (block * size + index) * inner + rest));
            }
        }
        let mut shape = value.shape.clone();
        shape[cut.axis] = length;
        value = value.pick(shape, &positions)?;
    }
    Some(value)
}
