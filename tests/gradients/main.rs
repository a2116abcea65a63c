//! Every gradient rule against central finite differences of the graph that it belongs to, run by ONNX Runtime.
//!
//! The analytic gradients and the differences come from the same graph but through nothing that they share: the one runs
//! the backward half, the other the forward half at moved inputs. In double precision where ONNX Runtime has kernels for
//! it; in single precision otherwise, with large moves where the operator is linear in each input, so that the difference
//! is exact but for rounding.

#![allow(clippy::unwrap_used, reason = "tests")]

mod activation;
mod arithmetic;
mod assemble;
mod case;
mod conv;
mod dense;
mod freezing;
mod layout;
mod loss;
mod normalize;
mod pool;
mod reduce;
mod softmax;
mod statistics;

use std::collections::BTreeSet;

use case::Case;

fn cases() -> Vec<Case> {
    [
        activation::cases(),
        arithmetic::cases(),
        assemble::cases(),
        conv::cases(),
        dense::cases(),
        layout::cases(),
        normalize::cases(),
        pool::cases(),
        reduce::cases(),
        softmax::cases(),
    ]
    .concat()
}

#[test]
fn every_rule_agrees_with_finite_differences() {
    let failures: Vec<String> = cases().iter().filter_map(|case| case.check().err()).collect();
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operator_that_has_a_rule_has_a_case() {
    let covered: BTreeSet<String> = cases().iter().flat_map(Case::operators).collect();
    let listed: Vec<&str> = secateur::autodiff::rules::operators().collect();
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len(), "an operator is listed twice");
    let missing: Vec<&&str> = listed.iter().filter(|operator| !covered.contains(**operator)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
