//! Graphs drawn at random from everything that rules know, cut at random: the outcome is certified, or refused with a reason.
//!
//! The seed of a case is its number. `SECATEUR_CASES=100000 cargo test --lib random_graphs -- --nocapture` tries more than
//! the tests do; `SECATEUR_FIRST_CASE` begins elsewhere, so that one case can be looked at alone.

mod blocks;
mod images;
mod maker;
mod sequences;

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, PruneRequest, Scope, Target};
use maker::Maker;

/// Cases of a test run.
const CASES: u64 = 1000;

/// What became of the cases.
#[derive(Default)]
struct Outcomes {
    certified: usize,
    refused: BTreeMap<String, usize>,
    /// Axes of weights that were frozen, by operator type.
    frozen: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test says how many cases")]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number of cases"))
}

/// A model and how it is to be cut.
fn case(seed: u64) -> (Model, PruneSpec) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let model = Maker::new(&mut rng).model();
    let request = PruneRequest {
        target: Some(Target::ChannelsRemoved(rng.random_range(0.1..0.8))),
        scope: if rng.random() { Scope::Local } else { Scope::Global },
        criterion: Some([Criterion::L1, Criterion::L2, Criterion::Random][rng.random_range(0..3)]),
        round_to: Some([1, 1, 1, 2, 4][rng.random_range(0..5)]),
        keep_normalized: rng.random_ratio(1, 8),
        seed: Some(seed),
        ..PruneRequest::default()
    };
    (model, request.parse().unwrap())
}

#[test]
fn random_graphs_are_cut_with_a_certificate_or_refused_with_a_reason() {
    let first = number("SECATEUR_FIRST_CASE", 0);
    let mut outcomes = Outcomes::default();
    for seed in first..first + number("SECATEUR_CASES", CASES) {
        let (model, spec) = case(seed);
        match prune(&model, &spec, None, 1, &|_| {}) {
            Ok(pruned) => {
                outcomes.certified += 1;
                for frozen in pruned.report.frozen {
                    let operator = frozen.operator.as_deref().unwrap_or("border").split(' ').next().unwrap_or_default();
                    *outcomes.frozen.entry(operator.split("__").next().unwrap_or_default().to_owned()).or_default() +=
                        1;
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                if failure.code == FailureCode::TargetUnreachable {
                    *outcomes.refused.entry(format!("{:?}", failure.code)).or_default() += 1;
                } else {
                    outcomes.wrong.push(format!("case {seed}: {failure}"));
                }
            }
        }
    }
    eprintln!(
        "{} certified, refused {:?}, frozen axes by operator {:?}",
        outcomes.certified, outcomes.refused, outcomes.frozen
    );
    assert!(outcomes.wrong.is_empty(), "{} went wrong:\n{}", outcomes.wrong.len(), outcomes.wrong.join("\n"));
    assert!(outcomes.certified > 3 * outcomes.refused.values().sum::<usize>(), "too many were refused");
}
