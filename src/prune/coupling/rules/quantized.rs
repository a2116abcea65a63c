//! Quantized tensors: scales and zero points of channels are cut with them.

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::{Rule, contraction};

pub const RULES: &[(&str, Rule)] = &[
    ("ConvInteger", conv_integer),
    ("DequantizeLinear", linear),
    ("DynamicQuantizeLinear", dynamic),
    ("MatMulInteger", mat_mul_integer),
    ("QuantizeLinear", linear),
];

/// Element by element, with a scale and a zero point for all, or one of each along `axis`.
fn linear(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if site.node().int("block_size").unwrap_or(0) != 0 {
        return Err("it has a scale for each block".into());
    }
    site.all_same(&x, &y);
    for slot in [1, 2] {
        if site.has_input(slot) {
            let parameter = site.input(slot)?;
            along(site, &parameter, &x)?;
        }
    }
    Ok(())
}

fn along(site: &mut Site<'_, '_>, parameter: &[FactorId], x: &[FactorId]) -> Ruling {
    match parameter {
        [] => Ok(()),
        [one] if site.size(*one).is(1) => Ok(()),
        [each] => {
            let axis = Site::axis(site.node().int("axis").unwrap_or(1), x.len())?;
            site.same(*each, x[axis]);
            Ok(())
        }
        _ => Err("its scale has several axes".into()),
    }
}

/// Scale and zero point are taken from all elements. Zero is always in their range, so that what is set to zero changes
/// neither.
fn dynamic(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    site.all_same(&x, &y);
    Ok(())
}

/// A product of integers; zero points for all, or of each column.
fn mat_mul_integer(site: &mut Site<'_, '_>) -> Ruling {
    contraction::matrices(site, [false, false])?;
    let y = site.output(0)?;
    if site.has_input(3) {
        let zero_point = site.input(3)?;
        if let ([each], Some(columns)) = (zero_point.as_slice(), y.last()) {
            site.broadcast(*each, *columns);
        }
    }
    Ok(())
}

/// A convolution of integers; the weight's zero points for all, or one a channel.
fn conv_integer(site: &mut Site<'_, '_>) -> Ruling {
    contraction::conv_without_bias(site)?;
    let y = site.output(0)?;
    if site.has_input(3) {
        let zero_point = site.input(3)?;
        if let [each] = zero_point.as_slice() {
            site.broadcast(*each, y[1]);
        }
    }
    Ok(())
}
