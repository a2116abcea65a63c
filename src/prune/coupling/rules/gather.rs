//! Selection by index.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[("Gather", gather)];

/// `y = data[.., indices, ..]`: the axes around the gathered one pass; the gathered axis stays as it is.
fn gather(site: &mut Site<'_, '_>) -> Ruling {
    let (data, indices, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let axis = Site::axis(site.node().int("axis").unwrap_or(0), data.len())?;
    if y.len() + 1 != data.len() + indices.len() {
        return Err("the ranks do not fit".into());
    }
    site.all_same(&data[..axis], &y[..axis]);
    site.all_same(&indices, &y[axis..axis + indices.len()]);
    site.all_same(&data[axis + 1..], &y[axis + indices.len()..]);
    site.freeze(data[axis], "its elements are selected by index");
    site.freeze_all(&indices, "each stands for a selected element");
    Ok(())
}
