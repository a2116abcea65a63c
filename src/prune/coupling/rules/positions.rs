//! Operators whose results are positions along an axis, or depend on who stands beside whom: that axis stays.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("ArgMax", arg),
    ("ArgMin", arg),
    ("CumProd", running),
    ("CumSum", running),
    ("ReverseSequence", reverse),
    ("TopK", top),
    ("Trilu", triangle),
];

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

/// The largest along an axis and where they stand.
fn top(site: &mut Site<'_, '_>) -> Ruling {
    let x = site.input(0)?;
    let axis = Site::axis(site.node().int("axis").unwrap_or(-1), x.len())?;
    for slot in 0..site.node().output.len() {
        if !site.node().output[slot].is_empty() {
            let y = site.output(slot)?;
            if y.len() != x.len() {
                return Err("the ranks do not fit".into());
            }
            site.all_same(&x[..axis], &y[..axis]);
            site.all_same(&x[axis + 1..], &y[axis + 1..]);
            site.freeze(y[axis], "it holds the largest of another axis, in their order");
        }
    }
    site.freeze(x[axis], "positions along this axis are an output");
    Ok(())
}

/// Sums or products of all elements before.
fn running(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let axis = *site.numbers(1)?.first().ok_or("it has no axis")?;
    let axis = Site::axis(axis, x.len())?;
    site.all_same(&x, &y);
    site.freeze(x[axis], "each element depends on those before it");
    Ok(())
}

/// The beginning of one axis in reverse, as long as another input says.
fn reverse(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let time = Site::axis(site.node().int("time_axis").unwrap_or(0), x.len())?;
    site.all_same(&x, &y);
    site.freeze(x[time], "elements of this axis change places");
    Ok(())
}

/// The upper or lower triangle of the last two axes.
fn triangle(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rows = x.len().checked_sub(2).ok_or("its input is not a matrix")?;
    site.all_same(&x, &y);
    site.freeze_all(&x[rows..], "positions along this axis are compared");
    Ok(())
}
