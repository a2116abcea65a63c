//! Proof that a pruned model computes what it should.
//!
//! A structured cut is compared with the original under masks ([`reference`]) on drawn inputs, on every engine, at its
//! outputs and before what hides differences there ([`tails`]); once with its own weights, and once with random weights in
//! both graphs ([`scramble`]), so that channels that were dead are proven too. What changes values by design (unstructured
//! zeros, training) is verified: it loads, runs, gives finite numbers and the same shapes.

mod compare;
mod engines;
mod reference;
mod scramble;
mod tails;

use compare::Difference;
pub use reference::is_maskable_reduction;

use crate::cost::ExampleShapes;
use crate::cost::inputs::{Feeds, Inputs, OPEN_SIZES};
use crate::engine::EngineError;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Inferred, Symbol};
use crate::onnx::tensor::Tensor;
use crate::spec::report::{Certificate, CertificateCheck};
use engines::{Judge, Ran, judges, run};
use tails::Tails;

use super::surgery::{Plan, Tailor};

/// Allowed |difference| ÷ scale. Sums of 32-bit floats in another order differ by about 1e-6; a wrong channel by more
/// than 1e-2. Half precision has 11 bits.
const TOLERANCE: f64 = 1e-4;
const TOLERANCE_HALF: f64 = 2e-2;

/// Batches of the comparisons where the batch is free. Two, so that a batch baked into a shape shows.
const BATCHES: [u64; 2] = [2, 3];

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
    pub threads: usize,
    pub seed: u64,
}

/// The drawn inputs, with the batch of each.
type Draws = Vec<(u64, Feeds)>;

/// A comparison that was within bounds, with the reference's outputs on ONNX Runtime.
struct Compared {
    checks: Vec<CertificateCheck>,
    reference: Ran,
}

impl Subject<'_> {
    /// Compares the cut model with the masked original.
    ///
    /// Errors: [`CertifyError::Failed`] where they differ or do not run; no inputs can be drawn.
    pub fn masked_equivalence(&self, tailor: &Tailor<'_>, plan: &Plan) -> Result<Certificate, CertifyError> {
        let draws = self.draws()?;
        let tails = Tails::new(self.graph, self.inferred, &|value| !tailor.is_cut(value));
        let compare = |original: &Model, candidate: &Model, weights: &str| {
            let masked = tails.observe(&reference::masked(original, tailor, self.inferred));
            self.compare(&masked, &tails.observe(candidate), &tails, &draws, weights)
        };
        let Compared { mut checks, reference } = compare(self.original, self.candidate, "own")?;
        let vacuous = self.masks_change_nothing(&tails, &draws, &reference)?;
        let failed = |what| CertifyError::Failed { what };
        let (scrambled, scrambled_cut) =
            scramble::scramble(self.original, self.candidate, plan, self.seed).map_err(failed)?;
        checks.extend(compare(&scrambled, &scrambled_cut, "random")?.checks);
        Ok(Certificate {
            kind: "masked_equivalence".into(),
            passed: true,
            tolerance: self.tolerance(),
            checks,
            vacuous_on_own_weights: vacuous,
        })
    }

    /// Runs the candidate: it loads, gives finite numbers where the original does, and outputs of the same shapes.
    ///
    /// Errors: [`CertifyError::Failed`] where it does not; no inputs can be drawn.
    pub fn verified(&self) -> Result<Certificate, CertifyError> {
        let draws = self.draws()?;
        let mut checks = Vec::new();
        for judge in judges()? {
            let (original, candidate) = match self.both(judge, self.original, self.candidate, &draws) {
                Ok(both) => both,
                Err((what, error)) => {
                    checks.push(judge.heed(error, what, "own", &draws)?);
                    continue;
                }
            };
            for (at, (batch, _)) in draws.iter().enumerate() {
                for (name, (a, b)) in original.names.iter().zip(original.outputs[at].iter().zip(&candidate.outputs[at]))
                {
                    let on = judge.engine.name();
                    if !self.same_shape(name, a, b) || a.dtype != b.dtype {
                        let what = format!(
                            "on {on} the output `{name}` is {:?} of {} where the original's is {:?} of {}",
                            b.shape, b.dtype, a.shape, a.dtype
                        );
                        return Err(CertifyError::Failed { what });
                    }
                    if is_finite(a) && !is_finite(b) {
                        let what = format!("on {on} the output `{name}` is not finite");
                        return Err(CertifyError::Failed { what });
                    }
                    checks.push(judge.passed(name, *batch, "own", None));
                }
            }
        }
        let tolerance = self.tolerance();
        Ok(Certificate { kind: "verified".into(), passed: true, tolerance, checks, vacuous_on_own_weights: false })
    }

    /// Whether two outputs are equal in all sizes that do not depend on values.
    fn same_shape(&self, output: &str, a: &Tensor, b: &Tensor) -> bool {
        let dims = self.inferred.dims(output).unwrap_or_default();
        let by_value = |axis: usize| {
            dims.get(axis).is_none_or(|dim: &Dim| dim.symbols().iter().any(|symbol| matches!(symbol, Symbol::Data(_))))
        };
        let sizes = a.shape.iter().zip(&b.shape).enumerate();
        a.shape.len() == b.shape.len() && sizes.into_iter().all(|(axis, (a, b))| a == b || by_value(axis))
    }

    fn tolerance(&self) -> f64 {
        let half = |name: &str| self.inferred.dtype(name).is_some_and(|dtype| dtype.is_float() && dtype.bits() == 16);
        let any = self.graph.proto.node.iter().flat_map(|node| &node.output).any(|name| half(name));
        if any { TOLERANCE_HALF } else { TOLERANCE }
    }

    /// Inputs that the original runs on. Open sizes without an example are tried until one fits.
    fn draws(&self) -> Result<Draws, CertifyError> {
        let inputs = Inputs::new(self.graph, self.inferred, self.examples);
        let batches: Vec<u64> =
            if inputs.batch_is_free() { BATCHES.to_vec() } else { vec![inputs.fixed_batch(); BATCHES.len()] };
        let draw = |open: i64| -> Result<Draws, CertifyError> {
            let feeds = |(at, batch): (usize, &u64)| {
                Ok((*batch, inputs.draw(*batch, open, self.seed.wrapping_add(at as u64))?))
            };
            batches.iter().enumerate().map(feeds).collect::<Result<_, String>>().map_err(CertifyError::Inputs)
        };
        let [runtime, _] = judges()?;
        let mut failure = None;
        for open in OPEN_SIZES {
            let draws = draw(open)?;
            match run(runtime, self.original, draws.first().map(|(_, feeds)| feeds), self.threads) {
                Ok(_) => return Ok(draws),
                Err(error) => failure = failure.or(Some(error)),
            }
            if inputs.open_axes().is_empty() {
                break;
            }
        }
        match failure {
            Some(error) => Err(CertifyError::Original(error)),
            None => Err(CertifyError::Inputs("no inputs could be drawn".into())),
        }
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
        let mut outputs = None;
        for judge in judges()? {
            let (expected, found) = match self.both(judge, reference, candidate, draws) {
                Ok(both) => both,
                Err((what, error)) => {
                    checks.push(judge.heed(error, what, weights, draws)?);
                    continue;
                }
            };
            for (position, name) in expected.names.iter().enumerate().filter(|(_, name)| tails.compares(name)) {
                for (at, (batch, _)) in draws.iter().enumerate() {
                    let mut difference = Difference::default();
                    difference.add(&expected.outputs[at][position], &found.outputs[at][position]);
                    let error = difference.error();
                    if error > self.tolerance() {
                        let what = format!(
                            "on {} with {weights} weights and batch {batch}, `{name}` differs from the masked original by {error:.2e} of its scale",
                            judge.engine.name()
                        );
                        return Err(CertifyError::Failed { what });
                    }
                    checks.push(judge.passed(name, *batch, weights, Some(error)));
                }
            }
            outputs = outputs.or(Some(expected));
        }
        match outputs {
            Some(reference) if checks.iter().any(|check| check.error.is_some()) => Ok(Compared { checks, reference }),
            _ => Err(CertifyError::Failed { what: "there is no output that could be compared".into() }),
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
        let found = all(candidate).map_err(|error| ("the pruned model", error))?;
        Ok((expected, found))
    }

    /// Whether the masked original gives what the original gives.
    fn masks_change_nothing(&self, tails: &Tails, draws: &Draws, masked: &Ran) -> Result<bool, CertifyError> {
        let [runtime, _] = judges()?;
        let model = tails.observe(self.original);
        let original =
            run(runtime, &model, draws.iter().map(|(_, feeds)| feeds), self.threads).map_err(CertifyError::Original)?;
        let mut differences = vec![Difference::default(); masked.names.len()];
        for (original, masked) in original.outputs.iter().zip(&masked.outputs) {
            for (difference, (a, b)) in differences.iter_mut().zip(original.iter().zip(masked)) {
                difference.add(a, b);
            }
        }
        Ok(differences.iter().all(|difference| difference.error() <= self.tolerance()))
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.to_f32().map_or(true, |values| values.iter().all(|value| value.is_finite()))
}
