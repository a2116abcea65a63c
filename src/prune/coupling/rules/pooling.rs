//! Pooling: each channel on its own, over windows or whole planes.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("AveragePool", pool),
    ("LpPool", pool),
    ("MaxPool", pool),
    ("GlobalAveragePool", pool),
    ("GlobalLpPool", pool),
    ("GlobalMaxPool", pool),
];

/// `x [n, c, …]` to `y [n, c, …]`.
fn pool(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if site.further_outputs(1) {
        return Err("the positions of the maxima are used".into());
    }
    if x.len() < 3 || y.len() != x.len() {
        return Err("its input has no plane to pool".into());
    }
    site.all_same(&x[..2], &y[..2]);
    site.freeze_all(&x[2..], "a window slides over this axis");
    site.freeze_all(&y[2..], "a window slides over this axis");
    Ok(())
}
