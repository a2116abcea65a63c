//! Every operator with a rule is composed, or left out for a reason.

use std::collections::BTreeSet;

use super::{case, outcomes};
use crate::onnx::bodies::DOMAIN;
use crate::prune::coupling::ruled_operators;

/// Operators with a rule that no graph here has, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("CumProd", "it is of operator set 26, which ONNX Runtime does not run yet"),
    ("RandomNormal", RANDOM),
    ("RandomUniform", RANDOM),
    ("Scatter", "operator set 11 took it away"),
    ("Swish", "it is of operator set 24; what it is made of is composed"),
    ("Upsample", "operator set 10 took it away"),
];

const RANDOM: &str = "its numbers are drawn anew in every run, so that there is nothing to compare";

/// Cases in which each operator is to be met.
const CASES: u64 = 1500;

#[test]
fn every_operator_with_a_rule_is_composed_or_left_out_for_a_reason() {
    let mut composed: BTreeSet<(String, String)> = BTreeSet::new();
    for seed in 0..CASES {
        composed.extend(outcomes::operators(&case(seed).0));
    }
    // The nodes where bodies begin and end stand for those that hold them.
    for operator in ["If", "Loop", "Scan"].map(str::to_owned) {
        assert!(composed.contains(&(String::new(), operator.clone())), "{operator}");
        composed.extend([operator.clone(), format!("{operator}Begin")].map(|name| (DOMAIN.to_owned(), name)));
    }
    let is_left_out = |operator: &str| LEFT_OUT.iter().any(|(name, _)| *name == operator);
    let missing: Vec<String> = ruled_operators()
        .filter(|(domain, name)| !composed.contains(&((*domain).to_owned(), (*name).to_owned())) && !is_left_out(name))
        .map(|(domain, name)| format!("{domain} {name}"))
        .collect();
    assert!(missing.is_empty(), "neither composed nor left out: {missing:?}");
    let stale: Vec<&str> =
        LEFT_OUT.iter().map(|(name, _)| *name).filter(|name| composed.iter().any(|(_, other)| other == name)).collect();
    assert!(stale.is_empty(), "composed and left out: {stale:?}");
    assert!(LEFT_OUT.iter().all(|(name, _)| ruled_operators().any(|(_, other)| other == *name)));
}
