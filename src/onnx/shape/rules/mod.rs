//! Shape rules: one file an operator family, one list of all.
//!
//! A rule sees one node and what is known of its inputs ([`Call`]) and gives a fact for each output, or the reason why it
//! cannot. It must not know other nodes.

#![expect(clippy::unnecessary_wraps, reason = "the rules of the list share one signature")]

mod constant;
mod control;
mod conv;
mod elementwise;
mod fused;
mod index;
mod join;
mod laid_out;
mod layout;
mod matmul;
mod normalize;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod select;
mod slice;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fact::{Call, Outputs};

/// The rule of an operator.
pub type Rule = fn(&Call) -> Outputs;

/// The default domain.
const AI: &str = "";
/// ONNX Runtime's own operators.
const MS: &str = "com.microsoft";

/// A family: its domain, its operators, the rule that they share.
type Family = (&'static str, &'static [&'static str], Rule);

/// Every family.
const FAMILIES: &[&[Family]] = &[
    constant::FAMILIES,
    control::FAMILIES,
    conv::FAMILIES,
    elementwise::FAMILIES,
    fused::FAMILIES,
    index::FAMILIES,
    join::FAMILIES,
    laid_out::FAMILIES,
    layout::FAMILIES,
    matmul::FAMILIES,
    normalize::FAMILIES,
    pool::FAMILIES,
    quantize::FAMILIES,
    recurrent::FAMILIES,
    reduce::FAMILIES,
    resize::FAMILIES,
    select::FAMILIES,
    slice::FAMILIES,
];

static RULES: LazyLock<HashMap<(&'static str, &'static str), Rule>> = LazyLock::new(|| {
    let families = FAMILIES.iter().flat_map(|families| families.iter());
    families.flat_map(|(domain, operators, rule)| operators.iter().map(move |op| ((*domain, *op), *rule))).collect()
});

/// The rule of an operator, where there is one.
pub fn find(domain: &str, op_type: &str) -> Option<Rule> {
    RULES.get(&(domain, op_type)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_one_rule() {
        let listed: usize = FAMILIES.iter().flat_map(|families| families.iter()).map(|family| family.1.len()).sum();
        assert_eq!(RULES.len(), listed);
    }
}
