//! Reductions over axes.

use super::{Gradients, NoGradient, Rule, Step};
use crate::autodiff::emit::{Emitter, Value};

pub const RULES: &[(&str, Rule)] = &[
    ("ReduceSum", reduce_sum),
    ("ReduceMean", reduce_mean),
    ("ReduceMax", reduce_extreme),
    ("ReduceMin", reduce_extreme),
    ("ReduceSumSquare", reduce_sum_square),
    ("ReduceL1", reduce_l1),
    ("ReduceL2", reduce_l2),
    ("ReduceLogSumExp", reduce_log_sum_exp),
];

/// The axes that a reduction runs over, and y and dy with those axes kept at size 1.
fn kept(step: &mut Step) -> Result<(Vec<usize>, Value, Value), NoGradient> {
    let (x, y, dy) = (step.x(0)?, step.y(0)?, step.dy()?);
    let empty_means_none = step.node.int("noop_with_empty_axes").unwrap_or(0) != 0;
    let axes = match step.axes(1, x.rank())? {
        Some(axes) if !axes.is_empty() => axes,
        _ if empty_means_none => Vec::new(),
        _ => (0..x.rank()).collect(),
    };
    let shape: Vec<usize> =
        x.shape.iter().enumerate().map(|(axis, size)| if axes.contains(&axis) { 1 } else { *size }).collect();
    Ok((axes, step.emit.reshape(&y, &shape), step.emit.reshape(&dy, &shape)))
}

fn count(x: &Value, axes: &[usize]) -> f64 {
    axes.iter().map(|axis| x.shape[*axis] as f64).product()
}

fn reduce_sum(step: &mut Step) -> Gradients {
    let (x, (_, _, dy)) = (step.x(0)?, kept(step)?);
    Step::only(step.emit.expand(&dy, &x.shape))
}

fn reduce_mean(step: &mut Step) -> Gradients {
    let (x, (axes, _, dy)) = (step.x(0)?, kept(step)?);
    let share = step.emit.scale(&dy, 1.0 / count(&x, &axes));
    Step::only(step.emit.expand(&share, &x.shape))
}

/// Equal extremes share the gradient, as in PyTorch's `amax` and `amin`.
fn reduce_extreme(step: &mut Step) -> Gradients {
    let (x, (axes, y, dy)) = (step.x(0)?, kept(step)?);
    Step::only(to_extremes(step.emit, &x, &y, &dy, &axes))
}

/// dy divided among the elements of x that equal y; y and dy have the reduced axes at size 1.
pub fn to_extremes(emit: &mut Emitter, x: &Value, y: &Value, dy: &Value, axes: &[usize]) -> Value {
    let distance = emit.sub(x, y);
    let distance = emit.unary("Abs", &distance);
    let below = emit.step(&distance);
    let one = emit.scalar(x, 1.0);
    let equal = emit.sub(&one, &below);
    let ties = emit.sum(&equal, axes, true);
    let share = emit.div(dy, &ties);
    emit.mul(&equal, &share)
}

/// dx = 2 · x · dy
fn reduce_sum_square(step: &mut Step) -> Gradients {
    let (x, (_, _, dy)) = (step.x(0)?, kept(step)?);
    let double = step.emit.scale(&dy, 2.0);
    Step::only(step.emit.mul(&x, &double))
}

/// dx = dy · sign(x), 0 at 0
fn reduce_l1(step: &mut Step) -> Gradients {
    let (x, (_, _, dy)) = (step.x(0)?, kept(step)?);
    let positive = step.emit.step(&x);
    let mirrored = step.emit.unary("Neg", &x);
    let negative = step.emit.step(&mirrored);
    let sign = step.emit.sub(&positive, &negative);
    Step::only(step.emit.mul(&sign, &dy))
}

/// dx = dy · x / y
fn reduce_l2(step: &mut Step) -> Gradients {
    let (x, (_, y, dy)) = (step.x(0)?, kept(step)?);
    let ratio = step.emit.div(&dy, &y);
    Step::only(step.emit.mul(&x, &ratio))
}

/// dx = dy · exp(x − y)
fn reduce_log_sum_exp(step: &mut Step) -> Gradients {
    let (x, (_, y, dy)) = (step.x(0)?, kept(step)?);
    let below = step.emit.sub(&x, &y);
    let share = step.emit.unary("Exp", &below);
    Step::only(step.emit.mul(&share, &dy))
}
