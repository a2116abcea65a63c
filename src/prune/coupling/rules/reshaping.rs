//! Operators that only regroup or reorder axes.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("Flatten", flatten),
    ("Reshape", reshape),
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

/// Repeated axes stay as they are.
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
            site.freeze_all(&[*from, *to], "its elements are repeated");
        }
    }
    Ok(())
}
