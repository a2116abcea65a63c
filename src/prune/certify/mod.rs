//! Proof that a pruned model computes what it should.
//!
//! A structured cut is compared with the original under masks ([`mod@reference`]) on drawn inputs, on every engine, at its
//! outputs and before what hides differences there ([`tails`]); once with its own weights, and once with random weights in
//! both graphs ([`scramble`]), so that channels that were dead are proven too; and, where there are branches and loops, once for
//! each way that they can go. What changes values by design (unstructured
//! zeros, training) is verified ([`verified`]): it loads, runs, gives finite numbers and the same shapes.

mod compare;
mod draws;
mod engines;
mod masks;
mod normalised;
mod reference;
mod scramble;
mod tails;
mod verified;

use compare::Difference;

use crate::cost::ExampleShapes;
use crate::cost::inputs::Feeds;
use crate::engine::EngineError;
use crate::onnx::bodies::Ways;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::spec::report::{Certificate, CertificateCheck};
use draws::Draws;
use engines::{Judge, Ran, judges, run};
use tails::Tails;

use super::surgery::{Plan, Tailor};

/// Allowed |difference| ÷ scale. Sums of 32-bit floats in another order differ by about 1e-6; a wrong channel by more
/// than 1e-2. Half precision has 11 bits.
const TOLERANCE: f64 = 1e-4;
const TOLERANCE_HALF: f64 = 2e-2;

/// What two engines may differ by on one model: approximated functions (exponential, error function) and other orders of sums
/// add up over a deep network to 1e-3; an operator that is understood otherwise differs by more.
const BETWEEN_ENGINES: f64 = 1e-2;

/// Why there is no certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CertifyError {
    #[error("{0}")]
    Inputs(String),
    #[error("the model does not run as it is: {0}; where an open axis has no example, give `example_shapes`")]
    Original(EngineError),
    /// The engine that decides is not there, or memory ran out.
    #[error("{0}")]
    Engine(EngineError),
    #[error("{what}")]
    Failed { what: String },
}

/// What a certificate is made from.
#[derive(Debug)]
pub struct Subject<'a> {
    pub original: &'a Model,
    pub graph: &'a Graph<'a>,
    pub inferred: &'a Inferred,
    pub candidate: &'a Model,
    pub examples: &'a ExampleShapes,
    /// Inputs to run on before any are drawn, where the original runs on them.
    pub samples: &'a [Feeds],
    pub threads: usize,
    pub seed: u64,
}

/// A comparison that was within bounds, with the reference's outputs on ONNX Runtime.
struct Compared {
    checks: Vec<CertificateCheck>,
    reference: Ran,
    /// Whether the engine that decides compared any number.
    proves: bool,
}

impl Subject<'_> {
    /// Compares the cut model with the masked original.
    ///
    /// Errors: [`CertifyError::Failed`] where they differ or do not run; no inputs can be drawn.
    pub fn masked_equivalence(&self, tailor: &Tailor<'_>, plan: &Plan) -> Result<Certificate, CertifyError> {
        let draws = self.draws()?;
        let tails = Tails::new(self.graph, self.inferred, &|value| !tailor.is_cut(value));
        let masked = |original: &Model| tails.observe(&reference::masked(original, tailor, self.inferred));
        let compare = |original: &Model, candidate: &Model, weights: &str| {
            self.compare(&masked(original), &tails.observe(candidate), &tails, &draws, weights)
        };
        let Compared { mut checks, reference, proves } = compare(self.original, self.candidate, "own")?;
        let vacuous = self.masks_change_nothing(self.original, &tails, &draws, &reference)?;
        let failed = |what| CertifyError::Failed { what };
        let (scrambled, scrambled_cut) =
            scramble::scramble(self.original, self.candidate, plan, self.seed).map_err(failed)?;
        let random = compare(&scrambled, &scrambled_cut, "random")?;
        let shows = || Ok(random.proves && !self.masks_change_nothing(&scrambled, &tails, &draws, &random.reference)?);
        if (!proves || vacuous) && !shows()? {
            let what = "on drawn inputs the model gives no finite numbers that show whether the cut is right: what is removed \
                        changes no output, neither with its own weights nor with random ones";
            return Err(CertifyError::Inputs(what.into()));
        }
        checks.extend(random.checks);
        for way in Ways::all(self.original) {
            let reference = way.set(&masked(self.original));
            let candidate = way.set(&tails.observe(self.candidate));
            let weights = format!("own, {}", way.label());
            checks.extend(self.compare_where_it_runs(&reference, &candidate, &tails, &draws, &weights)?);
        }
        Ok(Certificate {
            kind: "masked_equivalence".into(),
            passed: true,
            tolerance: self.tolerance(),
            checks,
            vacuous_on_own_weights: vacuous,
        })
    }

    fn tolerance(&self) -> f64 {
        let half = |name: &str| self.inferred.dtype(name).is_some_and(|dtype| dtype.is_float() && dtype.bits() == 16);
        let any = self.graph.proto.node.iter().flat_map(|node| &node.output).any(|name| half(name));
        if any { TOLERANCE_HALF } else { TOLERANCE }
    }

    /// One comparison on every engine.
    fn compare(
        &self,
        reference: &Model,
        candidate: &Model,
        tails: &Tails,
        draws: &Draws,
        weights: &str,
    ) -> Result<Compared, CertifyError> {
        let mut checks = Vec::new();
        let mut decided: Option<(Ran, Ran)> = None;
        let mut proves = false;
        for judge in judges()? {
            let (expected, found) = match self.both(judge, reference, candidate, draws) {
                Ok(both) => both,
                Err((what, error)) => {
                    checks.push(judge.heed(error, what, weights, draws)?);
                    continue;
                }
            };
            // An engine that gives other numbers for one and the same model says nothing about the other.
            if let Some((on_expected, on_found)) = &decided {
                let strays = strays(tails, on_expected, &expected).or(strays(tails, on_found, &found));
                if let Some(reason) = strays {
                    checks.push(judge.declined(reason, weights, draws));
                    continue;
                }
            }
            for (position, name) in expected.names.iter().enumerate().filter(|(_, name)| tails.compares(name)) {
                for (at, (batch, _)) in draws.iter().enumerate() {
                    let mut difference = Difference::default();
                    difference.add(&expected.outputs[at][position], &found.outputs[at][position]);
                    let error = difference.error();
                    if let Some(error) = error.filter(|error| *error > self.tolerance()) {
                        let what = format!(
                            "on {} with {weights} weights and batch {batch}, `{name}` differs from the masked original by {error:.2e} of its scale",
                            judge.engine.name()
                        );
                        return Err(CertifyError::Failed { what });
                    }
                    proves |= judge.decides && error.is_some();
                    checks.push(judge.passed(name, *batch, weights, error));
                }
            }
            decided = decided.or(Some((expected, found)));
        }
        match decided {
            Some((reference, _)) if !checks.is_empty() => Ok(Compared { checks, reference, proves }),
            _ => Err(CertifyError::Failed { what: "there is no output that could be compared".into() }),
        }
    }

    /// A comparison on inputs that are set otherwise than the model computes them: an engine on which the original does not
    /// run so, for a branch may want other shapes than it is given, has nothing to say.
    fn compare_where_it_runs(
        &self,
        reference: &Model,
        candidate: &Model,
        tails: &Tails,
        draws: &Draws,
        weights: &str,
    ) -> Result<Vec<CertificateCheck>, CertifyError> {
        let [runtime, _] = judges()?;
        match run(runtime, reference, draws.iter().map(|(_, feeds)| feeds), self.threads) {
            Ok(_) => Ok(self.compare(reference, candidate, tails, draws, weights)?.checks),
            Err(error) => Ok(vec![runtime.declined(error.to_string(), weights, draws)]),
        }
    }

    /// Both models on every draw; the model that does not run, with the reason.
    fn both(
        &self,
        judge: Judge,
        reference: &Model,
        candidate: &Model,
        draws: &Draws,
    ) -> Result<(Ran, Ran), (&'static str, EngineError)> {
        let all = |model: &Model| run(judge, model, draws.iter().map(|(_, feeds)| feeds), self.threads);
        let expected = all(reference).map_err(|error| ("the model that it is compared with", error))?;
        let found = all(candidate).map_err(|error| ("the new model", error))?;
        Ok((expected, found))
    }

    /// Whether the masked original gives what the original gives.
    fn masks_change_nothing(
        &self,
        original: &Model,
        tails: &Tails,
        draws: &Draws,
        masked: &Ran,
    ) -> Result<bool, CertifyError> {
        let [runtime, _] = judges()?;
        let model = tails.observe(original);
        let original =
            run(runtime, &model, draws.iter().map(|(_, feeds)| feeds), self.threads).map_err(CertifyError::Original)?;
        let mut differences = vec![Difference::default(); masked.names.len()];
        for (original, masked) in original.outputs.iter().zip(&masked.outputs) {
            for (difference, (a, b)) in differences.iter_mut().zip(original.iter().zip(masked)) {
                difference.add(a, b);
            }
        }
        Ok(differences.iter().all(|difference| difference.error().is_none_or(|error| error <= self.tolerance())))
    }
}

/// Where an engine gives other outputs for a model than the one that decides.
fn strays(tails: &Tails, decided: &Ran, other: &Ran) -> Option<String> {
    for (position, name) in decided.names.iter().enumerate().filter(|(_, name)| tails.compares(name)) {
        let mut difference = Difference::default();
        for (a, b) in decided.outputs.iter().zip(&other.outputs) {
            difference.add(&a[position], &b[position]);
        }
        if let Some(error) = difference.error().filter(|error| *error > BETWEEN_ENGINES) {
            return Some(format!(
                "it computes `{name}` otherwise than ONNX Runtime, of one and the same model: they differ by {error:.1e} of its scale"
            ));
        }
    }
    None
}
