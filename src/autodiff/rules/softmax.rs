//! Softmax and its logarithm.

use super::{Gradients, Rule, Step};

pub const RULES: &[(&str, Rule)] = &[("Softmax", softmax), ("LogSoftmax", log_softmax)];

/// dx = y · (dy − Σ dy · y)
fn softmax(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let axis = step.axis(-1, y.rank())?;
    let product = step.emit.mul(&dy, &y);
    let sum = step.emit.sum(&product, &[axis], true);
    let rest = step.emit.sub(&dy, &sum);
    Step::only(step.emit.mul(&y, &rest))
}

/// dx = dy − exp(y) · Σ dy
fn log_softmax(step: &mut Step) -> Gradients {
    let (y, dy) = (step.y(0)?, step.dy()?);
    let axis = step.axis(-1, y.rank())?;
    let sum = step.emit.sum(&dy, &[axis], true);
    let share = step.emit.unary("Exp", &y);
    let product = step.emit.mul(&share, &sum);
    Step::only(step.emit.sub(&dy, &product))
}
