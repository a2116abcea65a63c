//! Normalisations, and what else runs over an axis as a whole.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", per_channel),
    ("InstanceNormalization", per_channel),
    ("LayerNormalization", layer_norm),
    ("Softmax", softmax),
    ("LogSoftmax", softmax),
    ("Hardmax", softmax),
    ("ArgMax", arg),
    ("ArgMin", arg),
];

/// Statistics and affine of each channel on its own: `x [n, c, …]`, every parameter `[c]`.
fn per_channel(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if site.further_outputs(1) {
        return Err("it is in training mode".into());
    }
    if x.len() < 2 {
        return Err("its input has no channel axis".into());
    }
    site.all_same(&x, &y);
    for slot in 1..site.node().input.len() {
        let parameter = site.input(slot)?;
        if parameter.len() != 1 {
            return Err(format!("its parameters are not one number a channel but have {} axes", parameter.len()).into());
        }
        site.all_same(&parameter, &x[1..2]);
    }
    if site.node().is("InstanceNormalization") {
        site.freeze_all(&x[2..], "a mean and variance run over this axis");
    }
    Ok(())
}

/// Mean and variance over the last axes, which stay.
fn layer_norm(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if site.further_outputs(1) {
        return Err("its statistics are used".into());
    }
    let axis = Site::axis(site.node().int("axis").unwrap_or(-1), x.len())?;
    site.all_same(&x, &y);
    site.freeze_all(&x[axis..], "a mean and variance run over this axis");
    for slot in 1..site.node().input.len() {
        if site.has_input(slot) {
            let parameter = site.input(slot)?;
            site.broadcast_all(&parameter, &y);
        }
    }
    Ok(())
}

/// A sum over one axis; below operator set 13 over all axes from there on.
fn softmax(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let flat = site.opset() < 13;
    let axis = Site::axis(site.node().int("axis").unwrap_or(if flat { 1 } else { -1 }), x.len())?;
    site.all_same(&x, &y);
    let end = if flat { x.len() } else { axis + 1 };
    site.freeze_all(&x[axis..end], "a softmax runs over this axis");
    Ok(())
}

/// The position of an extreme: removing channels would renumber the answer.
fn arg(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let axis = Site::axis(site.node().int("axis").unwrap_or(0), x.len())?;
    site.freeze(x[axis], "positions along this axis are an output");
    let keep = site.node().int("keepdims").unwrap_or(1) != 0;
    site.all_same(&x[..axis], &y[..axis]);
    site.all_same(&x[axis + 1..], &y[if keep { axis + 1 } else { axis }..]);
    Ok(())
}
