//! Operators that join, take apart, pad and pick: the gradient puts each element back where it came from.

use super::{Gradients, NoGradient, Rule, Step, at};
use crate::autodiff::emit::{Emitter, Value};
use crate::onnx::attribute::Attribute;

pub const RULES: &[(&str, Rule)] =
    &[("Concat", concat), ("Split", split), ("Slice", slice), ("Pad", pad), ("Gather", gather)];

/// Each operand gets its part of dy.
fn concat(step: &mut Step) -> Gradients {
    let dy = step.dy()?;
    let axis = step.axis(0, dy.rank())?;
    let mut from = 0;
    let mut gradients = Vec::with_capacity(step.inputs.len());
    for slot in 0..step.inputs.len() {
        let size = step.x(slot)?.shape[axis];
        gradients.push(step.wants(slot).then(|| step.emit.narrow(&dy, axis, from, size)));
        from += size;
    }
    Ok(gradients)
}

/// The parts' gradients joined; parts that nobody used count as zeros.
fn split(step: &mut Step) -> Gradients {
    let x = step.x(0)?;
    let axis = step.axis(0, x.rank())?;
    let mut parts = Vec::with_capacity(step.outputs.len());
    for slot in 0..step.outputs.len() {
        let part = step.y(slot)?;
        parts.push(match step.upstream[slot].clone() {
            Some(dy) => dy,
            None => step.emit.zeros(part.dtype, &part.shape),
        });
    }
    Step::only(step.emit.concat(&parts, axis))
}

/// Zeros between, before and after what was taken.
fn slice(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let computed = || NoGradient("takes its bounds from a computation on data".into());
    let starts = step.integers(1)?.ok_or_else(computed)?;
    let axes = match step.integers(3)? {
        Some(axes) => axes.iter().map(|axis| at(*axis, x.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = step.integers(4)?.unwrap_or_else(|| vec![1; axes.len()]);
    let mut dx = dy;
    for (i, axis) in axes.into_iter().enumerate() {
        let size = x.shape[axis] as i64;
        let from_end = if starts[i] < 0 { starts[i] + size } else { starts[i] };
        if steps[i] > 0 {
            dx = spread(step.emit, &dx, axis, from_end.clamp(0, size) as usize, steps[i] as usize, size as usize);
        } else {
            // Backwards from `start`: the same as forwards from the last element, turned around.
            let taken = dx.shape[axis];
            let backwards: Vec<i64> = (0..taken as i64).rev().collect();
            let turned = step.emit.gather(&dx, axis, &backwards);
            let start = from_end.clamp(0, size - 1);
            let last = start + (taken.max(1) as i64 - 1) * steps[i];
            dx = spread(step.emit, &turned, axis, last as usize, steps[i].unsigned_abs() as usize, size as usize);
        }
    }
    Step::only(dx)
}

/// Puts the elements of one axis at `start, start + stride, …` of an axis of `size` zeros.
fn spread(emit: &mut Emitter, x: &Value, axis: usize, start: usize, stride: usize, size: usize) -> Value {
    let count = x.shape[axis];
    let border = |rank: usize, count: i64| {
        let mut counts = vec![0; rank];
        counts[axis] = count;
        counts
    };
    if stride == 1 || count <= 1 {
        let after = size as i64 - start as i64 - count as i64;
        return emit.pad(x, &border(x.rank(), start as i64), &border(x.rank(), after));
    }
    // An axis of one element behind the sliced one is padded to the stride, so that the two together have the zeros.
    let mut shape = x.shape.clone();
    shape.insert(axis + 1, 1);
    let apart = emit.reshape(x, &shape);
    let mut behind = vec![0; shape.len()];
    behind[axis + 1] = stride as i64 - 1;
    let apart = emit.pad(&apart, &vec![0; shape.len()], &behind);
    let mut shape = x.shape.clone();
    shape[axis] = count * stride;
    let apart = emit.reshape(&apart, &shape);
    let after = size as i64 - start as i64 - (count * stride) as i64;
    emit.pad(&apart, &border(x.rank(), start as i64), &border(x.rank(), after))
}

/// The padding is cut off again. Where padding repeats elements of the input there is no rule.
fn pad(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    if let Some(mode) = step.node.text("mode").filter(|mode| *mode != "constant") {
        return Err(NoGradient(format!("pads in the mode `{mode}`")));
    }
    if step.wants(2) {
        return Err(NoGradient("pads with a value that depends on weights".into()));
    }
    let pads = step.integers(1)?.ok_or_else(|| NoGradient("does not say how much it pads".into()))?;
    let axes = match step.integers(3)? {
        Some(axes) => axes.iter().map(|axis| at(*axis, x.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.rank()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(NoGradient(format!("has {} paddings for {} axes", pads.len(), axes.len())));
    }
    let (mut before, mut after) = (vec![0; x.rank()], vec![0; x.rank()]);
    for (i, axis) in axes.iter().enumerate() {
        before[*axis] = -pads[i];
        after[*axis] = -pads[i + axes.len()];
    }
    Step::only(step.emit.pad(&dy, &before, &after))
}

/// Each picked slice gives its gradient back to where it was picked; what was picked twice gets the sum.
///
/// Indices may be data (an embedding) or constants.
fn gather(step: &mut Step) -> Gradients {
    let (x, indices, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let axis = step.axis(0, x.rank())?;
    let (outer, inner): (usize, usize) = (x.shape[..axis].iter().product(), x.shape[axis + 1..].iter().product());
    let picked = indices.len();
    let rows = step.emit.reshape(&dy, &[outer, picked, inner]);
    let positions = step.emit.reshape(&indices, &[1, picked, 1]);
    let positions = step.emit.expand(&positions, &[outer, picked, inner]);
    let zeros = step.emit.zeros(x.dtype, &[outer, x.shape[axis], inner]);
    let attributes = [("axis", Attribute::Int(1)), ("reduction", Attribute::String("add".into()))];
    let sums = step.emit.node("ScatterElements", &[&zeros, &positions, &rows], &attributes, x.dtype, &zeros.shape);
    Ok(vec![Some(step.emit.reshape(&sums, &x.shape)), None])
}
