//! Selection by index.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site, Sources};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[("Gather", gather)];

/// `y = data[.., indices, ..]`: the axes around the gathered one pass. Where the indices are a list that is known, each of
/// them is one element of the axis, and the list is renumbered with it; otherwise the gathered axis stays as it is.
fn gather(site: &mut Site<'_, '_>) -> Ruling {
    let (data, indices, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let axis = Site::axis(site.node().int("axis").unwrap_or(0), data.len())?;
    if y.len() + 1 != data.len() + indices.len() {
        return Err("the ranks do not fit".into());
    }
    site.all_same(&data[..axis], &y[..axis]);
    site.all_same(&data[axis + 1..], &y[axis + indices.len()..]);
    if indices.len() == 1
        && let Some(list) = known_list(site, data[axis])
    {
        site.pick(data[axis], y[axis], Sources::List(list), 0);
        return Ok(());
    }
    site.all_same(&indices, &y[axis..axis + indices.len()]);
    site.freeze(data[axis], "its elements are selected by index");
    site.freeze_all(&indices, "each stands for a selected element");
    Ok(())
}

/// The indices as positions from the beginning, where all are known and within the axis.
fn known_list(site: &Site<'_, '_>, axis: FactorId) -> Option<Vec<usize>> {
    let size = site.known_size(axis)? as i64;
    let position = |index: i64| usize::try_from(if index < 0 { index + size } else { index }).ok();
    let list: Vec<usize> = site.numbers(1).ok()?.into_iter().map(position).collect::<Option<_>>()?;
    list.iter().all(|index| (*index as i64) < size).then_some(list)
}
