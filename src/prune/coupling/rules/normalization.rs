//! Normalisations, and what else runs over an axis as a whole.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::Rule;
use crate::onnx::shape::Dim;

pub const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", batch_norm),
    ("GroupNormalization", group_norm),
    ("InstanceNormalization", instance_norm),
    ("LayerNormalization", layer_norm),
    ("LpNormalization", lp_norm),
    ("LRN", local_response),
    ("MeanVarianceNormalization", mean_variance),
    ("RMSNormalization", layer_norm),
    ("SimplifiedLayerNormalization", layer_norm),
    ("Softmax", softmax),
    ("LogSoftmax", softmax),
    ("Hardmax", softmax),
];

/// Affine and stored statistics of each channel on its own: `x [n, c, …]`, every parameter `[c]`.
fn batch_norm(site: &mut Site<'_, '_>) -> Ruling {
    if site.further_outputs(1) {
        return Err("it is in training mode".into());
    }
    per_channel(site)
}

/// Mean and variance of each channel of each sample over the other axes.
fn instance_norm(site: &mut Site<'_, '_>) -> Ruling {
    per_channel(site)?;
    let x = site.input(0)?;
    site.normalised(&x[2..]);
    Ok(())
}

fn per_channel(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if x.len() < 2 {
        return Err("its input has no channel axis".into());
    }
    let parameters = (1..site.node().input.len()).map(|slot| site.input(slot)).collect::<Result<Vec<_>, _>>()?;
    if let Some(parameter) = parameters.iter().find(|parameter| parameter.len() != 1) {
        return Err(format!("its parameters are not one number a channel but have {} axes", parameter.len()).into());
    }
    site.all_same(&x, &y);
    for parameter in parameters {
        site.same(parameter[0], x[1]);
    }
    Ok(())
}

/// Mean and variance over the channels of a group and all places: `x [n, groups · c, …]`. A group goes as a whole, or the
/// same positions go in every group. Scale and bias `[groups · c]`, below operator set 21 `[groups]`.
fn group_norm(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let groups = site.node().int("num_groups").ok_or("it does not say how many groups it has")?;
    if x.len() < 2 {
        return Err("its input has no channel axis".into());
    }
    let within = site.size(x[1]).div_exact(&Dim::known(groups)).ok_or("the channels do not divide into the groups")?;
    let (groups, within) = (site.part(Dim::known(groups)), site.part(within));
    site.all_same(&x, &y);
    site.regroup(&x[1..2], &[groups, within]);
    for slot in [1, 2] {
        let parameter = site.input(slot)?;
        let whole = if site.opset() < 21 { groups } else { x[1] };
        site.all_same(&parameter, &[whole]);
    }
    site.counted_by("num_groups", groups);
    site.normalised(&[within]);
    site.normalised(&x[2..]);
    Ok(())
}

/// Mean and variance, or the mean square, over the last axes.
fn layer_norm(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if site.further_outputs(1) {
        return Err("its statistics are used".into());
    }
    let axis = Site::axis(site.node().int("axis").unwrap_or(-1), x.len())?;
    site.all_same(&x, &y);
    site.normalised(&x[axis..]);
    for slot in 1..site.node().input.len() {
        if site.has_input(slot) {
            let parameter = site.input(slot)?;
            site.broadcast_all(&parameter, &y);
        }
    }
    Ok(())
}

/// The last axis is normalised over.
pub fn over_last(site: &mut Site<'_, '_>, axes: &[FactorId]) -> Ruling {
    let last = axes.last().ok_or("its input is a scalar")?;
    site.normalised(&[*last]);
    Ok(())
}

/// Division by the norm along one axis.
fn lp_norm(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let axis = Site::axis(site.node().int("axis").unwrap_or(-1), x.len())?;
    site.all_same(&x, &y);
    site.normalised(&x[axis..=axis]);
    Ok(())
}

/// Mean and variance over some axes, those of the planes by default. The others pass.
fn mean_variance(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    site.all_same(&x, &y);
    let axes = site.node().ints("axes").unwrap_or(&[0, 2, 3]);
    for axis in axes {
        site.freeze(x[Site::axis(*axis, x.len())?], "mean and variance run over this axis");
    }
    Ok(())
}

/// A window over neighbouring channels: who is whose neighbour would change.
fn local_response(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y): (Vec<FactorId>, _) = (site.input(0)?, site.output(0)?);
    site.all_same(&x, &y);
    match x.get(1) {
        Some(channels) => site.freeze(*channels, "a window slides over the channels"),
        None => return Err("its input has no channel axis".into()),
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
    site.normalised(&x[axis..end]);
    Ok(())
}
