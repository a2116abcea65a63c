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
        sliced[cut.axis] = extent(&dims[cut.axis], cut).map_or_else(|| call.data(0, cut.axis), |extent| extent.1);
    }
    let value = call.value(0).and_then(|value| picked(value, &cuts));
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

/// A bound counted from the front. Values near the ends of the type mean "all the way".
fn from_front(bound: &Dim, size: &Dim, backwards: bool) -> Option<Dim> {
    let far = i64::from(i32::MAX) - 1;
    match (bound.as_known(), bound.lower_bound()) {
        (Some(bound), _) if bound >= far => Some(if backwards { size.sub(&Dim::known(1)) } else { size.clone() }),
        (Some(bound), _) if bound <= -far => Some(Dim::known(if backwards { -1 } else { 0 })),
        (Some(bound), _) if bound < 0 => Some(size.add(&Dim::known(bound))),
        (_, Some(0..)) => Some(bound.clone()),
        // −x counts from the back where x is at least 1.
        _ => (bound.mul(&Dim::known(-1)).lower_bound()? >= 1).then(|| size.add(bound)),
    }
}

/// First index and number of indices.
fn extent(size: &Dim, cut: &Cut) -> Option<(Dim, Dim)> {
    let backwards = cut.step < 0;
    let (start, end) = (from_front(&cut.start, size, backwards)?, from_front(&cut.end, size, backwards)?);
    let (start, span) = if backwards {
        let start = start.minimum(&size.sub(&Dim::known(1)));
        let span = start.sub(&end.maximum(&Dim::known(-1)));
        (start, span)
    } else {
        let start = start.maximum(&Dim::known(0));
        let span = if end == *size { end } else { end.minimum(size) }.sub(&start);
        (start, span)
    };
    // A size is never negative, whatever its expression looks like.
    let length = if span == *size { span } else { span.maximum(&Dim::known(0)) };
    Some((start, length.ceil_div(&Dim::known(cut.step.checked_abs()?))))
}

/// The elements that are left, where all bounds are numbers.
fn picked(value: &ShapeValue, cuts: &[Cut]) -> Option<ShapeValue> {
    let mut value = value.clone();
    for cut in cuts {
        let size = *value.shape.get(cut.axis)?;
        let (start, length) = extent(&Dim::known(size as i64), cut)?;
        let start = start.as_known()?;
        let length = length.as_known().and_then(|length| usize::try_from(length).ok())?;
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
