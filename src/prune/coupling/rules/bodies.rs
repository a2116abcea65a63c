//! Where bodies of If, Loop and Scan begin and end: what goes in and out is the same value, whatever way it takes.

use super::super::factor::FactorId;
use super::super::site::{Refusal, Ruling, Site};
use super::Rule;
use crate::onnx::bodies;

/// Of the domain [`crate::onnx::bodies::DOMAIN`].
pub const RULES: &[(&str, Rule)] =
    &[("If", branch), ("Loop", loop_end), ("LoopBegin", loop_begin), ("Scan", scan_end), ("ScanBegin", scan_begin)];

/// Each output is that of one branch or of the other.
fn branch(site: &mut Site<'_, '_>) -> Ruling {
    let count = site.node().output.len();
    for output in 0..count {
        if site.node().output[output].is_empty() {
            continue;
        }
        let y = site.output(output)?;
        for slot in [1 + output, 1 + count + output] {
            let x = site.input(slot)?;
            equal(site, &x, &y)?;
        }
    }
    Ok(())
}

/// The axes of a value that is now one, now another.
fn equal(site: &mut Site<'_, '_>, x: &[FactorId], y: &[FactorId]) -> Ruling {
    if x.len() != y.len() {
        return Err("the ranks of a value differ from one way to the other".into());
    }
    for (a, b) in x.iter().zip(y) {
        if site.size(*a) == site.size(*b) {
            site.same(*a, *b);
        } else {
            site.freeze_all(&[*a, *b], "its size differs from one way to the other");
        }
    }
    Ok(())
}

fn carried(site: &Site<'_, '_>) -> usize {
    bodies::carried(site.node())
}

/// Count, condition and first values to turns, number, condition and values of a turn.
fn loop_begin(site: &mut Site<'_, '_>) -> Ruling {
    (0..carried(site)).try_for_each(|at| begin(site, 2 + at, 3 + at))
}

fn begin(site: &mut Site<'_, '_>, input: usize, output: usize) -> Ruling {
    let (x, y) = (site.input(input)?, site.output(output)?);
    equal(site, &x, &y)
}

/// First values and scanned values to turns, values of a turn and slices.
fn scan_begin(site: &mut Site<'_, '_>) -> Ruling {
    let states = carried(site);
    (0..states).try_for_each(|at| begin(site, at, 1 + at))?;
    let turns = site.output(0)?;
    for slot in states..site.node().input.len() {
        let (x, slice) = (site.input(slot)?, site.output(1 + slot)?);
        let axis = scanned(site, "scan_input_axes", slot - states, x.len())?;
        site.same(x[axis], turns[0]);
        let others: Vec<FactorId> = [&x[..axis], &x[axis + 1..]].concat();
        site.all_same(&others, &slice);
    }
    site.freeze(turns[0], "its elements are visited one by one");
    Ok(())
}

fn scanned(site: &Site<'_, '_>, attribute: &str, at: usize, rank: usize) -> Result<usize, Refusal> {
    let axes = site.node().ints(attribute).unwrap_or_default();
    Site::axis(axes.get(at).copied().unwrap_or(0), rank)
}

fn loop_end(site: &mut Site<'_, '_>) -> Ruling {
    end(site, 1)
}

fn scan_end(site: &mut Site<'_, '_>) -> Ruling {
    end(site, 0)
}

/// Turns, values before a turn, what stands before them, values after it, and what is put side by side.
fn end(site: &mut Site<'_, '_>, conditions: usize) -> Ruling {
    let states = carried(site);
    let first = 1 + states + conditions;
    for at in 0..states {
        let (before, after) = (site.input(1 + at)?, site.input(first + at)?);
        equal(site, &before, &after)?;
        if site.node().output.get(at).is_some_and(|name| !name.is_empty()) {
            let y = site.output(at)?;
            equal(site, &before, &y)?;
        }
    }
    let turns = site.input(0)?;
    for output in states..site.node().output.len() {
        let x = site.input(first + output)?;
        if !site.node().output[output].is_empty() {
            let y = site.output(output)?;
            let axis = scanned(site, "scan_output_axes", output - states, y.len())?;
            site.same(turns[0], y[axis]);
            let others: Vec<FactorId> = [&y[..axis], &y[axis + 1..]].concat();
            site.all_same(&x, &others);
        }
    }
    Ok(())
}
