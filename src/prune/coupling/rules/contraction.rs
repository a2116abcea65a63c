//! Convolutions and matrix products: where channels are made and consumed.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::Rule;
use crate::onnx::shape::Dim;

pub const RULES: &[(&str, Rule)] =
    &[("Conv", conv), ("ConvTranspose", conv_transpose), ("Gemm", gemm), ("MatMul", mat_mul)];

/// The reason that keeps window axes as they are.
pub const WINDOW: &str = "a window slides over this axis";

/// A channel axis as groups × channels of a group.
fn grouped(
    site: &mut Site<'_, '_>,
    axis: FactorId,
    groups: FactorId,
    group: i64,
) -> Result<FactorId, super::super::site::Refusal> {
    let size = site.size(axis).div_exact(&Dim::known(group)).ok_or("the channels do not divide into the groups")?;
    let within = site.part(size);
    site.regroup(&[axis], &[groups, within]);
    Ok(within)
}

/// `x [n, groups · c, …]`, `w [groups · m, c, …]`, `b [groups · m]`, `y [n, groups · m, …]`. A group goes as a whole, or
/// the same positions go in every group; depthwise is the case of one channel a group.
pub fn conv(site: &mut Site<'_, '_>) -> Ruling {
    conv_without_bias(site)?;
    let y = site.output(0)?;
    bias(site, y[1])
}

/// The same where the third input is something else.
pub fn conv_without_bias(site: &mut Site<'_, '_>) -> Ruling {
    conv_with_weight(site, 1)
}

/// The same with the weight at another slot.
pub fn conv_with_weight(site: &mut Site<'_, '_>, weight: usize) -> Ruling {
    let (x, w, y) = (site.input(0)?, site.input(weight)?, site.output(0)?);
    if x.len() < 3 || w.len() != x.len() || y.len() != x.len() {
        return Err("the ranks of input, weight and output differ".into());
    }
    site.same(x[0], y[0]);
    site.same(w[0], y[1]);
    match site.node().int("group").unwrap_or(1) {
        1 => site.same(x[1], w[1]),
        group => {
            let groups = site.part(Dim::known(group));
            let within = grouped(site, x[1], groups, group)?;
            site.same(within, w[1]);
            grouped(site, w[0], groups, group)?;
            site.counted_by("group", groups);
        }
    }
    windows(site, &[&x, &w, &y]);
    Ok(())
}

/// `x [n, groups · c, …]`, `w [groups · c, m, …]`, `y [n, groups · m, …]`.
fn conv_transpose(site: &mut Site<'_, '_>) -> Ruling {
    let (x, w, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    if x.len() < 3 || w.len() != x.len() || y.len() != x.len() {
        return Err("the ranks of input, weight and output differ".into());
    }
    site.same(x[0], y[0]);
    site.same(x[1], w[0]);
    match site.node().int("group").unwrap_or(1) {
        1 => site.same(w[1], y[1]),
        group => {
            let groups = site.part(Dim::known(group));
            grouped(site, x[1], groups, group)?;
            let within = grouped(site, y[1], groups, group)?;
            site.same(within, w[1]);
            site.counted_by("group", groups);
        }
    }
    bias(site, y[1])?;
    windows(site, &[&x, &w, &y]);
    Ok(())
}

fn bias(site: &mut Site<'_, '_>, channels: FactorId) -> Ruling {
    if site.has_input(2) {
        let b = site.input(2)?;
        site.all_same(&b, &[channels]);
    }
    Ok(())
}

fn windows(site: &mut Site<'_, '_>, tensors: &[&[FactorId]]) {
    for axes in tensors {
        site.freeze_all(&axes[2..], WINDOW);
    }
}

/// `a [m, k]` and `b [k, n]`, each perhaps transposed, `c` broadcast to `y [m, n]`.
pub fn gemm(site: &mut Site<'_, '_>) -> Ruling {
    let (a, b, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    if a.len() != 2 || b.len() != 2 || y.len() != 2 {
        return Err("an operand is not a matrix".into());
    }
    let transposed = |name: &str| site.node().int(name).unwrap_or(0) != 0;
    let (m, k) = if transposed("transA") { (a[1], a[0]) } else { (a[0], a[1]) };
    let (k_b, n) = if transposed("transB") { (b[1], b[0]) } else { (b[0], b[1]) };
    site.same(k, k_b);
    site.same(m, y[0]);
    site.same(n, y[1]);
    if site.has_input(2) {
        let c = site.input(2)?;
        site.broadcast_all(&c, &y);
    }
    Ok(())
}

/// `a […, m, k]`, `b […, k, n]`, `y […, m, n]`; leading axes are broadcast, a vector's missing axis is dropped again.
fn mat_mul(site: &mut Site<'_, '_>) -> Ruling {
    matrices(site, [false, false])
}

/// The same, each matrix perhaps transposed.
pub fn matrices(site: &mut Site<'_, '_>, turned: [bool; 2]) -> Ruling {
    matrices_at(site, [0, 1], turned)
}

/// The same with the operands at other slots.
pub fn matrices_at(site: &mut Site<'_, '_>, slots: [usize; 2], turned: [bool; 2]) -> Ruling {
    let (mut a, mut b, mut y) = (site.input(slots[0])?, site.input(slots[1])?, site.output(0)?);
    for (axes, _) in [&mut a, &mut b].into_iter().zip(turned).filter(|(axes, turned)| *turned && axes.len() > 1) {
        let rank = axes.len();
        axes.swap(rank - 2, rank - 1);
    }
    let (Some(k_a), Some(b_last)) = (a.last(), b.last()) else { return Err("an operand is a scalar".into()) };
    let k_b = if b.len() > 1 {
        let n = y.pop().ok_or("the ranks do not fit")?;
        site.same(*b_last, n);
        b[b.len() - 2]
    } else {
        *b_last
    };
    site.same(*k_a, k_b);
    if a.len() > 1 {
        let m = y.pop().ok_or("the ranks do not fit")?;
        site.same(a[a.len() - 2], m);
    }
    site.broadcast_all(&a[..a.len().saturating_sub(2)], &y);
    site.broadcast_all(&b[..b.len().saturating_sub(2)], &y);
    Ok(())
}
