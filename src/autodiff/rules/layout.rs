//! Operators that move elements without changing them: the gradient moves them back.

use super::{Gradients, NoGradient, Rule, Step, at};

pub const RULES: &[(&str, Rule)] = &[
    ("Identity", identity),
    ("Cast", cast),
    ("Reshape", back_to_shape),
    ("Flatten", back_to_shape),
    ("Squeeze", back_to_shape),
    ("Unsqueeze", back_to_shape),
    ("Transpose", transpose),
    ("Expand", identity),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
];

/// dx = dy; what was repeated is summed where gradients are brought to their input's shape.
fn identity(step: &mut Step) -> Gradients {
    Step::only(step.dy()?)
}

/// Only floating types come here: a gradient does not pass through integers.
fn cast(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    Step::only(step.emit.cast(&dy, x.dtype))
}

fn back_to_shape(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    Step::only(step.emit.reshape(&dy, &x.shape))
}

/// The inverse permutation.
fn transpose(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let permutation: Vec<usize> = match step.node.ints("perm") {
        Some(axes) => axes.iter().map(|axis| at(*axis, x.rank())).collect::<Result<_, _>>()?,
        None => (0..x.rank()).rev().collect(),
    };
    let mut inverse = vec![0; x.rank()];
    for (to, from) in permutation.into_iter().enumerate() {
        inverse[from] = to;
    }
    Step::only(step.emit.transpose(&dy, &inverse))
}

/// Blocks of channels were spread over space, as depth-column-row or column-row-depth.
fn depth_to_space(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let (block, [n, c, h, w]) = (block(step)?, images(&x.shape)?);
    let depth = c / (block * block);
    let spread = step.emit.reshape(&dy, &[n, depth, h, block, w, block]);
    let order = if step.node.text("mode") == Some("CRD") { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
    let gathered = step.emit.transpose(&spread, &order);
    Step::only(step.emit.reshape(&gathered, &x.shape))
}

/// Blocks of space were stacked into channels.
fn space_to_depth(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let (block, [n, c, h, w]) = (block(step)?, images(&x.shape)?);
    let stacked = step.emit.reshape(&dy, &[n, block, block, c, h / block, w / block]);
    let spread = step.emit.transpose(&stacked, &[0, 3, 4, 1, 5, 2]);
    Step::only(step.emit.reshape(&spread, &x.shape))
}

fn block(step: &Step) -> Result<usize, NoGradient> {
    step.node
        .int("blocksize")
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size > 0)
        .ok_or_else(|| NoGradient("has no block size".into()))
}

fn images(shape: &[usize]) -> Result<[usize; 4], NoGradient> {
    shape.try_into().map_err(|_| NoGradient(format!("takes {shape:?}, which are no images")))
}
