//! Operators that make values out of sizes, and constants. What their elements depend on is followed in
//! [`super::super::sizes`]; their axes are tied to nothing.

use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[
    ("Constant", nothing),
    ("ConstantOfShape", nothing),
    ("RandomNormal", nothing),
    ("RandomUniform", nothing),
    ("Shape", nothing),
    ("Size", nothing),
];

#[expect(clippy::unnecessary_wraps, reason = "it is a rule like the others")]
fn nothing(_: &mut Site<'_, '_>) -> Ruling {
    Ok(())
}
