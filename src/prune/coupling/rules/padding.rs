//! Padding and resizing.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site, Sources};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[("Pad", pad), ("Resize", resize), ("Upsample", resize)];

/// Constant padding makes elements that nothing is tied to; other modes copy elements, which keeps a padded axis as it is.
fn pad(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let pads = site.numbers_from(if site.opset() < 2 { "paddings" } else { "pads" }, 1)?.ok_or("it has no pads")?;
    let axes = if site.has_input(3) {
        site.numbers(3)?.iter().map(|axis| Site::axis(*axis, x.len())).collect::<Result<Vec<_>, _>>()?
    } else {
        (0..x.len()).collect()
    };
    if pads.len() != 2 * axes.len() || x.len() != y.len() {
        return Err("its pads do not fit the rank".into());
    }
    let constant = matches!(site.node().text("mode").unwrap_or("constant"), "constant");
    for (axis, (from, to)) in x.iter().zip(&y).enumerate() {
        match axes.iter().position(|padded| *padded == axis) {
            Some(at) => padded_axis(site, *from, *to, (pads[at], pads[at + axes.len()]), constant),
            None => site.same(*from, *to),
        }
    }
    Ok(())
}

fn padded_axis(site: &mut Site<'_, '_>, from: FactorId, to: FactorId, (before, after): (i64, i64), constant: bool) {
    if (before, after) == (0, 0) {
        return site.same(from, to);
    }
    match (site.known_size(from), usize::try_from(before)) {
        (Some(count), Ok(before)) if constant && after >= 0 => {
            site.pick(from, to, Sources::Run { start: 0, step: 1, count }, before);
        }
        _ => site.freeze_all(&[from, to], "padding other than by constants keeps this axis as it is"),
    }
}

/// Axes whose size stays are the same, the others are resampled.
fn resize(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    for (from, to) in x.iter().zip(&y).skip(2) {
        site.freeze_all(&[*from, *to], "the axis is resampled");
    }
    for (from, to) in x.iter().zip(&y).take(2) {
        if site.size(*from) == site.size(*to) {
            site.same(*from, *to);
        } else {
            site.freeze_all(&[*from, *to], "the axis is resampled");
        }
    }
    Ok(())
}
