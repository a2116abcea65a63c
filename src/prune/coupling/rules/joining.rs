//! Operators that join axes or take parts of them: indices move by an offset.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site, Sources};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[("Concat", concat), ("Split", split), ("Slice", slice)];

/// Each operand's axis lies behind the one before it.
fn concat(site: &mut Site<'_, '_>) -> Ruling {
    let slots: Vec<usize> = (0..site.node().input.len()).collect();
    join(site, &slots)
}

/// The same for the operands at some slots.
pub fn join(site: &mut Site<'_, '_>, slots: &[usize]) -> Ruling {
    let y = site.output(0)?;
    let axis = Site::axis(site.node().int("axis").unwrap_or(1), y.len())?;
    let parts = slots.iter().map(|slot| site.input(*slot)).collect::<Result<Vec<_>, _>>()?;
    for part in &parts {
        if part.len() != y.len() {
            return Err("the ranks differ".into());
        }
        others_same(site, part, &y, axis);
    }
    let whole: Vec<FactorId> = parts.iter().map(|part| part[axis]).collect();
    ranges(site, &whole, y[axis], |site, part, offset, count| {
        site.pick(part, y[axis], Sources::Run { start: 0, step: 1, count }, offset);
    });
    Ok(())
}

/// Each output is the next part of the axis.
fn split(site: &mut Site<'_, '_>) -> Ruling {
    let x = site.input(0)?;
    let axis = Site::axis(site.node().int("axis").unwrap_or(0), x.len())?;
    let parts = (0..site.node().output.len()).map(|slot| site.output(slot)).collect::<Result<Vec<_>, _>>()?;
    for part in &parts {
        if part.len() != x.len() {
            return Err("the ranks differ".into());
        }
        others_same(site, part, &x, axis);
    }
    let pieces: Vec<FactorId> = parts.iter().map(|part| part[axis]).collect();
    ranges(site, &pieces, x[axis], |site, part, offset, count| {
        site.pick(x[axis], part, Sources::Run { start: offset, step: 1, count }, 0);
    });
    Ok(())
}

fn others_same(site: &mut Site<'_, '_>, left: &[FactorId], right: &[FactorId], axis: usize) {
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        if at != axis {
            site.same(*a, *b);
        }
    }
}

/// Calls `pick` with the offset and length of each part, or freezes all where a length is not a number.
fn ranges(
    site: &mut Site<'_, '_>,
    parts: &[FactorId],
    whole: FactorId,
    pick: impl Fn(&mut Site<'_, '_>, FactorId, usize, usize),
) {
    if let [only] = parts {
        site.same(*only, whole);
        return;
    }
    if parts.iter().chain([&whole]).any(|axis| site.known_size(*axis).is_none()) {
        let reason = "an axis whose size is not known is joined or divided";
        site.freeze_all(parts, reason);
        site.freeze(whole, reason);
        return;
    }
    let mut offset = 0;
    for part in parts {
        let count = site.known_size(*part).unwrap_or(0);
        pick(site, *part, offset, count);
        offset += count;
    }
}

/// A range of some axes. Attributes up to operator set 9, inputs from 10 on.
fn slice(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let starts = site.numbers_from("starts", 1);
    let axes = match site.numbers_from("axes", 3)? {
        Some(axes) => axes.iter().map(|axis| Site::axis(*axis, x.len())).collect::<Result<Vec<_>, _>>()?,
        None => match &starts {
            Ok(Some(starts)) => (0..starts.len()).collect(),
            _ => return Err("the axes it slices are not known before the graph runs".into()),
        },
    };
    let steps = site.numbers_from("steps", 4)?.unwrap_or_else(|| vec![1; axes.len()]);
    for axis in 0..x.len() {
        let Some(at) = axes.iter().position(|sliced| *sliced == axis) else {
            site.same(x[axis], y[axis]);
            continue;
        };
        let start = starts.as_ref().ok().and_then(|starts| starts.as_ref()?.get(at).copied());
        range(site, x[axis], y[axis], start, steps.get(at).copied().unwrap_or(1));
    }
    Ok(())
}

fn range(site: &mut Site<'_, '_>, from: FactorId, to: FactorId, start: Option<i64>, step: i64) {
    if step == 1 && site.size(from) == site.size(to) {
        return site.same(from, to);
    }
    let (Some(whole), Some(count), Some(start)) = (site.known_size(from), site.known_size(to), start) else {
        let reason = "the bounds of the slice are not known before the graph runs";
        return site.freeze_all(&[from, to], reason);
    };
    let bounded = if start < 0 { start.saturating_add(whole as i64) } else { start };
    match step {
        1 | -1 => {
            let last = whole as i64 - i64::from(step < 0);
            let start = bounded.clamp(0, last) as usize;
            site.pick(from, to, Sources::Run { start, step: step as isize, count }, 0);
        }
        _ => site.freeze_all(&[from, to], "a slice takes every so many of its elements"),
    }
}
