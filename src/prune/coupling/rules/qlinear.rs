//! Operators that work on quantized numbers: each tensor with a scale and a zero point behind it, for all of it or of each
//! channel.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::{Rule, contraction, joining};

pub const RULES: &[(&str, Rule)] = &[("QLinearConv", conv), ("QLinearMatMul", mat_mul)];

/// Of the domain `com.microsoft`.
pub const FUSED: &[(&str, Rule)] = &[
    ("QGemm", gemm),
    ("QLinearAdd", binary),
    ("QLinearAveragePool", pool),
    ("QLinearConcat", concat),
    ("QLinearGlobalAveragePool", pool),
    ("QLinearLeakyRelu", unary),
    ("QLinearMul", binary),
    ("QLinearSigmoid", unary),
];

/// A parameter for all of a tensor, or one number for each index of an axis of it.
fn along(site: &mut Site<'_, '_>, slots: [usize; 2], axis: FactorId) -> Ruling {
    for slot in slots {
        if site.has_input(slot) {
            match site.input(slot)?.as_slice() {
                [] => {}
                [each] => {
                    let each = *each;
                    site.broadcast(each, axis);
                }
                _ => return Err("a scale or zero point has several axes".into()),
            }
        }
    }
    Ok(())
}

/// `x`, `w` at slot 3, 32-bit bias at slot 8.
fn conv(site: &mut Site<'_, '_>) -> Ruling {
    contraction::conv_with_weight(site, 3)?;
    let y = site.output(0)?;
    along(site, [4, 5], y[1])?;
    if site.has_input(8) {
        let bias = site.input(8)?;
        site.all_same(&bias, &y[1..2]);
    }
    Ok(())
}

/// `a`, `b` at slot 3; scales of rows and columns.
fn mat_mul(site: &mut Site<'_, '_>) -> Ruling {
    contraction::matrices_at(site, [0, 3], [false, false])?;
    let (a, b) = (site.input(0)?, site.input(3)?);
    if let Some(rows) = a.len().checked_sub(2) {
        along(site, [1, 2], a[rows])?;
    }
    let columns = *b.last().ok_or("an operand is a scalar")?;
    along(site, [4, 5], columns)
}

/// `a`, `b` at slot 3, 32-bit `c` at slot 6.
fn gemm(site: &mut Site<'_, '_>) -> Ruling {
    let (a, b, y) = (site.input(0)?, site.input(3)?, site.output(0)?);
    if a.len() != 2 || b.len() != 2 || y.len() != 2 {
        return Err("an operand is not a matrix".into());
    }
    let transposed = |name: &str| site.node().int(name).unwrap_or(0) != 0;
    let (m, k) = if transposed("transA") { (a[1], a[0]) } else { (a[0], a[1]) };
    let (k_b, n) = if transposed("transB") { (b[1], b[0]) } else { (b[0], b[1]) };
    site.same(k, k_b);
    site.same(m, y[0]);
    site.same(n, y[1]);
    along(site, [4, 5], n)?;
    if site.has_input(6) {
        let c = site.input(6)?;
        site.broadcast_all(&c, &y);
    }
    Ok(())
}

fn binary(site: &mut Site<'_, '_>) -> Ruling {
    let y = site.output(0)?;
    for slot in [0, 3] {
        let x = site.input(slot)?;
        site.broadcast_all(&x, &y);
    }
    Ok(())
}

fn unary(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    site.all_same(&x, &y);
    Ok(())
}

/// Each channel on its own.
fn pool(site: &mut Site<'_, '_>) -> Ruling {
    if site.node().int("channels_last").unwrap_or(0) != 0 {
        return Err("its channels come last".into());
    }
    let (x, y) = (site.input(0)?, site.output(0)?);
    if x.len() < 3 || y.len() != x.len() {
        return Err("its input has no plane to pool".into());
    }
    site.all_same(&x[..2], &y[..2]);
    site.freeze_all(&[&x[2..], &y[2..]].concat(), contraction::WINDOW);
    Ok(())
}

/// Scale and zero point of the result, then tensor, scale and zero point of each part.
fn concat(site: &mut Site<'_, '_>) -> Ruling {
    let slots: Vec<usize> = (2..site.node().input.len()).step_by(3).collect();
    joining::join(site, &slots)
}
