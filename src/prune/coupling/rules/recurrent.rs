//! Recurrent operators: gates stacked in front of the hidden units.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::Rule;
use crate::onnx::shape::Dim;

pub const RULES: &[(&str, Rule)] = &[("GRU", recurrent), ("LSTM", recurrent), ("RNN", recurrent)];

/// `x [s, n, i]`, `w [d, gates · h, i]`, `r [d, gates · h, h]`, `b [d, 2 · gates · h]`, states `[d, n, h]`, peepholes
/// `[d, 3 · h]`; `y [s, d, n, h]`, last states `[d, n, h]`. With `layout` 1 the batch comes first. One hidden unit has its
/// row in every gate, its column in `r`, and goes in both directions, for `hidden_size` counts for both. A step of the
/// sequence cannot go: the state would go on without it, not with nothing in its place.
fn recurrent(site: &mut Site<'_, '_>) -> Ruling {
    let (x, w, r) = (site.input(0)?, site.input(1)?, site.input(2)?);
    if x.len() != 3 || w.len() != 3 || r.len() != 3 {
        return Err("an input, weight or recurrent weight is not of rank 3".into());
    }
    let gates = match site.node().op_type() {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let hidden = r[2];
    let batch_first = site.node().int("layout").unwrap_or(0) == 1;
    let (sequence, batch) = if batch_first { (x[1], x[0]) } else { (x[0], x[1]) };
    site.same(w[2], x[2]);
    site.same(w[0], r[0]);
    site.freeze(w[0], "each index of this axis is a direction");
    site.freeze(sequence, "each step of a sequence goes on from the one before");
    stacked(site, w[1], gates, hidden);
    stacked(site, r[1], gates, hidden);
    for (slot, stack) in [(3, 2 * gates), (7, 3)] {
        if site.has_input(slot) {
            let parameter = site.input(slot)?;
            site.same(parameter[0], w[0]);
            stacked(site, parameter[1], stack, hidden);
        }
    }
    let state = if batch_first { [batch, w[0], hidden] } else { [w[0], batch, hidden] };
    for slot in [5, 6] {
        if site.has_input(slot) {
            let initial = site.input(slot)?;
            site.all_same(&initial, &state);
        }
    }
    let all = if batch_first { [batch, sequence, w[0], hidden] } else { [sequence, w[0], batch, hidden] };
    for (slot, axes) in [(0, all.as_slice()), (1, &state), (2, &state)] {
        if site.node().output.get(slot).is_some_and(|name| !name.is_empty()) {
            let y = site.output(slot)?;
            site.all_same(&y, axes);
        }
    }
    if site.node().find_attribute("hidden_size").is_some() {
        site.counted_by("hidden_size", hidden);
    }
    Ok(())
}

/// An axis that holds `count` blocks, one row of each for every hidden unit.
fn stacked(site: &mut Site<'_, '_>, axis: FactorId, count: i64, hidden: FactorId) {
    let blocks = site.part(Dim::known(count));
    site.regroup(&[axis], &[blocks, hidden]);
    site.freeze(blocks, "each index of this part is a gate");
}
