//! Graphs drawn at random from everything that rules know, cut at random: the outcome is certified, or refused with a reason.
//!
//! The seed of a case is its number. `SECATEUR_CASES=100000 cargo test --lib random_graphs -- --nocapture` tries more than
//! the tests do; `SECATEUR_FIRST_CASE` begins elsewhere, so that one case can be looked at alone. What became of the cases
//! is printed by operator.

#![expect(clippy::unnecessary_wraps, reason = "blocks have one signature")]

mod attention;
mod bodies;
mod covered;
mod elementwise;
mod ends;
mod fused;
mod images;
mod layers;
mod maker;
mod menu;
mod norms;
mod outcomes;
mod picking;
mod planes;
mod positions;
mod quantized;
mod rows;
mod sequences;
mod shapes;
mod touchy;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::*;
use crate::onnx::bodies as bodies_of_nodes;
use crate::prune::certify::CertifyError;
use crate::prune::error::PruneError;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, PruneRequest, Scope, Target};
use crate::spec::report::Frozen;
use maker::Maker;
use outcomes::{Outcome, Outcomes};

/// Cases of a test run.
const CASES: u64 = 1000;

#[expect(clippy::disallowed_methods, reason = "whoever runs the test says how many cases")]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number of cases"))
}

/// A model and how it is to be cut.
fn case(seed: u64) -> (Model, PruneSpec) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (model, example_shapes) = Maker::new(&mut rng).model();
    let request = PruneRequest {
        target: Some(Target::ChannelsRemoved(rng.random_range(0.1..0.8))),
        scope: if rng.random() { Scope::Local } else { Scope::Global },
        criterion: Some([Criterion::L1, Criterion::L2, Criterion::Random][rng.random_range(0..3)]),
        round_to: Some([1, 1, 1, 2, 4][rng.random_range(0..5)].into()),
        keep_normalized: rng.random_ratio(1, 8),
        seed: Some(seed),
        example_shapes,
        ..PruneRequest::default()
    };
    (model, request.parse().unwrap())
}

/// What became of a case. Where numbers are rounded, compared or divided by a deviation near zero, a sum in another order can
/// tip one of them over: a certificate that fails for that passes on other inputs, or the model shows it ([`touchy`]); one that
/// fails for a wrong cut does neither.
fn outcome(model: &Model, spec: &PruneSpec) -> Outcome {
    let failed = match once(model, spec) {
        Outcome::Wrong(failed) if failed.starts_with("certificate_failed") => failed,
        outcome => return outcome,
    };
    let passes = |other: u64| {
        let spec = PruneSpec { seed: spec.seed.wrapping_add(other << 32), ..spec.clone() };
        !matches!(once(model, &spec), Outcome::Wrong(_))
    };
    if (1..4).any(passes) || touchy::is_touchy(model, spec) { Outcome::Tipped } else { Outcome::Wrong(failed) }
}

fn once(model: &Model, spec: &PruneSpec) -> Outcome {
    match prune(model, spec, None, 1, &|_| {}) {
        Ok(pruned) => Outcome::Certified(pruned.report.frozen),
        Err(PruneError::Certify(CertifyError::Original(_))) => Outcome::Unrunnable,
        // Nothing of the input reaches the outputs.
        Err(PruneError::Certify(CertifyError::Inputs(_))) => Outcome::Refused { stays: Vec::new(), nothing_goes: true },
        Err(error) => {
            let failure = Failure::from(error);
            if failure.code != FailureCode::TargetUnreachable {
                return Outcome::Wrong(failure.to_string());
            }
            // What stays is told by a report; there is one where anything can go.
            let least = PruneSpec { dry_run: true, target: Target::ChannelsRemoved(1e-6), ..spec.clone() };
            match prune(model, &least, None, 1, &|_| {}) {
                Ok(pruned) => Outcome::Refused { stays: pruned.report.frozen, nothing_goes: false },
                Err(_) => Outcome::Refused { stays: frozen(model, spec), nothing_goes: true },
            }
        }
    }
}

/// What stays of a model, and why.
fn frozen(model: &Model, spec: &PruneSpec) -> Vec<Frozen> {
    let written_out = inline::functions(model).ok().flatten();
    let model = written_out.as_ref().unwrap_or(model);
    let laid_out = bodies_of_nodes::lay_out(model);
    let model = laid_out.as_ref().map_or(model, |laid_out| &laid_out.model);
    let (graph, inferred) = (model.graph(), crate::onnx::shape::infer(model));
    let exclude = names::Excluded::new(&[], &[], &graph).expect("no names");
    let wishes = coupling::Wishes { exclude, holds: Vec::new(), keep_normalised: spec.keep_normalized };
    coupling::couple(model, &graph, &inferred, &wishes).map_or_else(|_| Vec::new(), |coupling| coupling.frozen)
}

#[test]
fn random_graphs_are_cut_with_a_certificate_or_refused_with_a_reason() {
    let first = number("SECATEUR_FIRST_CASE", 0);
    let seeds = first..first + number("SECATEUR_CASES", CASES);
    let each = seeds.into_par_iter().map(|seed| {
        let (model, spec) = case(seed);
        let ended = std::panic::catch_unwind(|| outcome(&model, &spec));
        (seed, outcomes::operators(&model), ended.unwrap_or_else(|_| Outcome::Wrong("it panicked".to_owned())))
    });
    let each: Vec<_> = each.collect();
    let mut outcomes = Outcomes::default();
    for (seed, operators, outcome) in each {
        outcomes.add(seed, &operators, outcome);
    }
    eprintln!("{outcomes}");
    assert!(outcomes.wrong.is_empty(), "{} went wrong:\n{}", outcomes.wrong.len(), outcomes.wrong.join("\n"));
    assert!(outcomes.tipped * 100 <= outcomes.certified, "too many were tipped over by rounding");
    assert!(outcomes.unrunnable * 100 <= outcomes.certified, "too many do not run as they are");
    assert!(outcomes.certified > 2 * outcomes.refused, "too many were refused");
}
