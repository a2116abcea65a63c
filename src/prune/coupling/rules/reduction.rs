//! Reductions: reduced axes end here, the others pass.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("ReduceL1", reduce),
    ("ReduceL2", reduce),
    ("ReduceLogSum", reduce),
    ("ReduceLogSumExp", reduce),
    ("ReduceMax", reduce),
    ("ReduceMean", reduce),
    ("ReduceMin", reduce),
    ("ReduceProd", reduce),
    ("ReduceSum", reduce),
    ("ReduceSumSquare", reduce),
];

/// Over the given axes, or all.
fn reduce(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let axes = site.numbers_from("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && site.node().int("noop_with_empty_axes").unwrap_or(0) != 0 {
        site.all_same(&x, &y);
        return Ok(());
    }
    let reduced = axes.iter().map(|axis| Site::axis(*axis, x.len())).collect::<Result<Vec<_>, _>>()?;
    let is_reduced = |axis: usize| axes.is_empty() || reduced.contains(&axis);
    let keep = site.node().int("keepdims").unwrap_or(1) != 0;
    let mut at = 0;
    for (axis, from) in x.iter().enumerate() {
        if is_reduced(axis) {
            at += usize::from(keep);
            site.normalised(&[*from]);
        } else {
            let to = *y.get(at).ok_or("the ranks do not fit")?;
            site.same(*from, to);
            at += 1;
        }
    }
    Ok(())
}
