//! Operators that work element by element, with broadcasting.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("Abs", unary),
    ("Acos", unary),
    ("Acosh", unary),
    ("Asin", unary),
    ("Asinh", unary),
    ("Atan", unary),
    ("Atanh", unary),
    ("BitwiseNot", unary),
    ("Cast", unary),
    ("CastLike", unary),
    ("Ceil", unary),
    ("Celu", unary),
    ("Clip", unary),
    ("Cos", unary),
    ("Cosh", unary),
    ("Dropout", dropout),
    ("Elu", unary),
    ("Erf", unary),
    ("Exp", unary),
    ("Floor", unary),
    ("Gelu", unary),
    ("HardSigmoid", unary),
    ("HardSwish", unary),
    ("Identity", unary),
    ("IsInf", unary),
    ("IsNaN", unary),
    ("LeakyRelu", unary),
    ("Log", unary),
    ("Mish", unary),
    ("Neg", unary),
    ("Not", unary),
    ("Reciprocal", unary),
    ("Relu", unary),
    ("Round", unary),
    ("Selu", unary),
    ("Shrink", unary),
    ("Sigmoid", unary),
    ("Sign", unary),
    ("Sin", unary),
    ("Sinh", unary),
    ("Softplus", unary),
    ("Softsign", unary),
    ("Sqrt", unary),
    ("Swish", unary),
    ("Tan", unary),
    ("Tanh", unary),
    ("ThresholdedRelu", unary),
    ("Add", broadcasting),
    ("And", broadcasting),
    ("BitShift", broadcasting),
    ("BitwiseAnd", broadcasting),
    ("BitwiseOr", broadcasting),
    ("BitwiseXor", broadcasting),
    ("Div", broadcasting),
    ("Equal", broadcasting),
    ("Greater", broadcasting),
    ("GreaterOrEqual", broadcasting),
    ("Less", broadcasting),
    ("LessOrEqual", broadcasting),
    ("Max", broadcasting),
    ("Mean", broadcasting),
    ("Min", broadcasting),
    ("Mod", broadcasting),
    ("Mul", broadcasting),
    ("Or", broadcasting),
    ("PRelu", broadcasting),
    ("Pow", broadcasting),
    ("Sub", broadcasting),
    ("Sum", broadcasting),
    ("Where", broadcasting),
    ("Xor", broadcasting),
    ("Expand", expand),
];

/// One tensor in, one of its shape out. Bounds (`Clip`) and examples of a type (`CastLike`) are scalars or not looked at.
pub fn unary(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    if site.node().is("Clip") {
        for slot in 1..site.node().input.len() {
            if site.has_input(slot) && !site.input(slot)?.is_empty() {
                return Err("a bound is not a scalar".into());
            }
        }
    }
    site.all_same(&x, &y);
    Ok(())
}

/// At inference the input, and a mask of its shape.
fn dropout(site: &mut Site<'_, '_>) -> Ruling {
    let x = site.input(0)?;
    for slot in 0..site.node().output.len() {
        if !site.node().output[slot].is_empty() {
            let y = site.output(slot)?;
            site.all_same(&x, &y);
        }
    }
    Ok(())
}

/// Operands aligned at their last axes; equal sizes are the same axis, a size of 1 ties nothing.
pub fn broadcasting(site: &mut Site<'_, '_>) -> Ruling {
    if site.node().operator_domain().is_empty() && site.opset() < 7 && site.node().find_attribute("broadcast").is_some()
    {
        return Err("it broadcasts by the rules of an operator set below 7".into());
    }
    let y = site.output(0)?;
    for slot in 0..site.node().input.len() {
        if site.has_input(slot) {
            let x = site.input(slot)?;
            site.broadcast_all(&x, &y);
        }
    }
    Ok(())
}

/// The input broadcast to a given shape.
fn expand(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    site.broadcast_all(&x, &y);
    Ok(())
}
