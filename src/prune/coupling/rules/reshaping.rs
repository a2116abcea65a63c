//! Operators that only regroup or reorder axes.

use super::super::site::{Ruling, Site};
use super::Rule;
use crate::onnx::shape::Dim;

pub const RULES: &[(&str, Rule)] = &[
    ("DepthToSpace", blocks),
    ("Flatten", flatten),
    ("Reshape", reshape),
    ("SpaceToDepth", blocks),
    ("Squeeze", reshape),
    ("Unsqueeze", reshape),
    ("Transpose", transpose),
    ("Tile", tile),
];

/// The same factors in other axes.
fn reshape(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    site.regroup(&x, &y);
    Ok(())
}

/// Two axes: those before `axis`, and the rest.
fn flatten(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let axis = site.node().int("axis").unwrap_or(1);
    let axis = if axis == x.len() as i64 { x.len() } else { Site::axis(axis, x.len())? };
    site.regroup(&x[..axis], &y[..1]);
    site.regroup(&x[axis..], &y[1..]);
    Ok(())
}

/// Axes in another order; reversed without `perm`.
fn transpose(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    for (to, axis) in y.iter().enumerate() {
        let from = match site.node().ints("perm") {
            Some(perm) => Site::axis(*perm.get(to).ok_or("its permutation is too short")?, x.len())?,
            None => x.len() - 1 - to,
        };
        site.same(x[from], *axis);
    }
    Ok(())
}

/// An axis that is repeated is a product: how often, and what is repeated.
fn tile(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let repeats = site.numbers(1)?;
    if repeats.len() != x.len() {
        return Err("its repeats do not fit the rank".into());
    }
    for ((from, to), repeat) in x.iter().zip(&y).zip(repeats) {
        if repeat == 1 {
            site.same(*from, *to);
        } else {
            let copies = site.part(Dim::known(repeat));
            site.freeze(copies, "each index of this part is a copy");
            site.regroup(&[*to], &[copies, *from]);
        }
    }
    Ok(())
}

/// Blocks of places become channels or the other way round; `mode` says whether channels lie within blocks (DCR) or blocks
/// within channels (CRD).
fn blocks(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let size = site.node().int("blocksize").ok_or("it has no block size")?;
    if x.len() != 4 || y.len() != 4 {
        return Err("its input is no image".into());
    }
    let (deep, flat) = if site.node().is("DepthToSpace") { (&x, &y) } else { (&y, &x) };
    let places = [site.part(Dim::known(size)), site.part(Dim::known(size))];
    site.freeze_all(&places, "each index of this part is a place of a block");
    site.same(x[0], y[0]);
    match site.node().text("mode").unwrap_or("DCR") {
        "CRD" => site.regroup(&deep[1..2], &[flat[1], places[0], places[1]]),
        _ => site.regroup(&deep[1..2], &[places[0], places[1], flat[1]]),
    }
    for axes in [&x[2..], &y[2..]] {
        site.freeze_all(axes, "blocks of places are taken apart");
    }
    Ok(())
}
