//! Operators that move, take or write places of planes and rows: the axes around those places pass, those that hold them
//! stay.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::Rule;
use crate::onnx::shape::Dim;

pub const RULES: &[(&str, Rule)] = &[
    ("CenterCropPad", crop),
    ("Col2Im", columns),
    ("Compress", compress),
    ("GatherElements", elements),
    ("GatherND", gather_rows),
    ("GridSample", sample),
    ("MaxRoiPool", regions),
    ("RoiAlign", regions),
    ("Scatter", elements),
    ("ScatterElements", elements),
    ("ScatterND", scatter_rows),
];

const CHOSEN: &str = "its elements are selected by index";
const WRITTEN: &str = "its elements are written by index";
const SAMPLED: &str = "places of this axis are sampled";

/// `y[i][j] = data[indices[i][j]][j]` along one axis. No axis of the data can be cut, for each element of the indices stands
/// for one of them. Updates have the shape of the indices.
fn elements(site: &mut Site<'_, '_>) -> Ruling {
    let (data, indices, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let axis = Site::axis(site.node().int("axis").unwrap_or(0), data.len())?;
    if indices.len() != data.len() || y.len() != data.len() {
        return Err("the ranks do not fit".into());
    }
    // Every element has an index of its own, and those stay with it.
    site.freeze_all(&indices, "each stands for an element");
    site.freeze(data[axis], CHOSEN);
    let writes = site.has_input(2);
    let updates = if writes { site.input(2)? } else { y.clone() };
    for at in 0..data.len() {
        if writes {
            site.same(data[at], y[at]);
        }
        site.same(indices[at], updates[at]);
        if at != axis {
            site.freeze(data[at], "every element along it has an index of its own");
        }
    }
    Ok(())
}

/// Axes that indices of so many numbers point into, after `batch` axes that both have.
fn depth(
    site: &Site<'_, '_>,
    indices: &[FactorId],
    batch: usize,
    rank: usize,
) -> Result<usize, super::super::site::Refusal> {
    let last = indices.last().ok_or("its indices are a scalar")?;
    let depth = site.known_size(*last).ok_or("how many axes its indices point into is not known")?;
    if batch + depth > rank {
        return Err("its indices point into more axes than there are".into());
    }
    Ok(depth)
}

/// `y = data[indices[...], ...]`: the axes behind those that are pointed into pass.
fn gather_rows(site: &mut Site<'_, '_>) -> Ruling {
    let (data, indices, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let batch = usize::try_from(site.node().int("batch_dims").unwrap_or(0)).map_err(|_| "its batch is negative")?;
    let depth = depth(site, &indices, batch, data.len())?;
    let rows = indices.len() - 1;
    if y.len() != rows + data.len() - batch - depth {
        return Err("the ranks do not fit".into());
    }
    site.freeze_all(&indices, "each stands for a selected element");
    site.freeze_all(&data[..batch + depth], CHOSEN);
    site.all_same(&indices[..rows], &y[..rows]);
    site.all_same(&data[batch + depth..], &y[rows..]);
    Ok(())
}

/// `data` with `data[indices[...], ...] = updates[...]`: the axes behind those that are pointed into pass.
fn scatter_rows(site: &mut Site<'_, '_>) -> Ruling {
    let (data, indices, updates, y) = (site.input(0)?, site.input(1)?, site.input(2)?, site.output(0)?);
    let depth = depth(site, &indices, 0, data.len())?;
    let rows = indices.len() - 1;
    if updates.len() != rows + data.len() - depth {
        return Err("the ranks do not fit".into());
    }
    site.all_same(&data, &y);
    site.freeze_all(&indices, "each stands for a written element");
    site.freeze_all(&data[..depth], WRITTEN);
    site.all_same(&indices[..rows], &updates[..rows]);
    site.all_same(&data[depth..], &updates[rows..]);
    Ok(())
}

/// Elements of one axis that a condition names; without an axis of all elements in a row.
fn compress(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let Some(axis) = site.node().int("axis") else {
        return Err("it selects from all elements in a row".into());
    };
    let axis = Site::axis(axis, x.len())?;
    site.freeze_all(&[x[axis], y[axis]], CHOSEN);
    site.all_same(&x[..axis], &y[..axis]);
    site.all_same(&x[axis + 1..], &y[axis + 1..]);
    Ok(())
}

/// Axes that are cropped or padded around their middle.
fn crop(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let axes: Vec<usize> = match site.node().ints("axes") {
        Some(axes) => axes.iter().map(|axis| Site::axis(*axis, x.len())).collect::<Result<_, _>>()?,
        None => (0..x.len()).collect(),
    };
    for axis in 0..x.len() {
        if axes.contains(&axis) {
            site.freeze_all(&[x[axis], y[axis]], "it is cropped or padded around its middle");
        } else {
            site.same(x[axis], y[axis]);
        }
    }
    Ok(())
}

/// `x [n, c · places of a block, blocks]` to `y [n, c, …]`.
fn columns(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let block: i64 = site.numbers(2)?.iter().product();
    if x.len() != 3 || y.len() < 3 {
        return Err("its input is not made of blocks".into());
    }
    let places = site.part(Dim::known(block));
    site.freeze(places, "each index of this part is a place of a block");
    site.same(x[0], y[0]);
    site.regroup(&x[1..2], &[y[1], places]);
    site.freeze_all(&[&x[2..], &y[2..]].concat(), SAMPLED);
    Ok(())
}

/// Channels at places of the plane that a grid names.
fn sample(site: &mut Site<'_, '_>) -> Ruling {
    let (x, grid, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    if x.len() < 3 || y.len() != x.len() {
        return Err("its input has no plane".into());
    }
    site.all_same(&x[..2], &y[..2]);
    site.freeze_all(&[&x[2..], &y[2..], &grid[..]].concat(), SAMPLED);
    Ok(())
}

/// Channels of regions of the plane.
fn regions(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if x.len() != 4 || y.len() != 4 {
        return Err("its input is no image".into());
    }
    site.same(x[1], y[1]);
    site.freeze_all(&[x[0], y[0], x[2], x[3], y[2], y[3]], "regions of it are sampled");
    for slot in 1..site.node().input.len() {
        let region = site.input(slot)?;
        site.freeze_all(&region, "each stands for a region");
    }
    Ok(())
}
