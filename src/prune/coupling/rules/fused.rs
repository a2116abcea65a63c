//! Operators that ONNX Runtime's optimizer writes, of the domain `com.microsoft`: an operator with its activation, its sum or
//! its normalisation.

use super::super::site::{Ruling, Site};
use super::{Rule, contraction, elementwise, normalization};

pub const RULES: &[(&str, Rule)] = &[
    ("BiasGelu", elementwise::broadcasting),
    ("FastGelu", elementwise::broadcasting),
    ("FusedConv", fused_conv),
    ("FusedGemm", contraction::gemm),
    ("FusedMatMul", fused_mat_mul),
    ("Gelu", elementwise::unary),
    ("QuickGelu", elementwise::unary),
    ("SkipLayerNormalization", skip_norm),
    ("SkipSimplifiedLayerNormalization", skip_norm),
];

/// A convolution, a sum with the fourth input, an activation.
fn fused_conv(site: &mut Site<'_, '_>) -> Ruling {
    contraction::conv(site)?;
    if site.has_input(3) {
        let (sum, y) = (site.input(3)?, site.output(0)?);
        site.all_same(&sum, &y);
    }
    Ok(())
}

/// A matrix product with operands that may be transposed.
fn fused_mat_mul(site: &mut Site<'_, '_>) -> Ruling {
    let is_set = |name: &str| site.node().int(name).unwrap_or(0) != 0;
    if is_set("transBatchA") || is_set("transBatchB") {
        return Err("its batch axes change places".into());
    }
    let turned = [is_set("transA"), is_set("transB")];
    contraction::matrices(site, turned)
}

/// The sum of two inputs and a bias, normalised over its last axis: input, skip, scale, shift, bias.
fn skip_norm(site: &mut Site<'_, '_>) -> Ruling {
    let asks = |slot: usize| site.node().output.get(slot).is_some_and(|name| !name.is_empty());
    if asks(1) || asks(2) {
        return Err("its statistics are used".into());
    }
    let asks_for_sum = asks(3);
    let y = site.output(0)?;
    for slot in 0..site.node().input.len() {
        if site.has_input(slot) {
            let x = site.input(slot)?;
            site.broadcast_all(&x, &y);
        }
    }
    if asks_for_sum {
        let sum = site.output(3)?;
        site.all_same(&sum, &y);
    }
    normalization::over_last(site, &y)
}
