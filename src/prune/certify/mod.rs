//! Proof that a pruned model computes what it should.
//!
//! A structured cut is compared with the original under masks ([`reference`]) on drawn inputs, on every engine. Where the
//! masks change nothing, because the removed channels were dead, the comparison is repeated with random weights in both
//! graphs ([`scramble`]), so that it is never vacuous. What changes values in place (unstructured zeros) is verified: it
//! loads, runs, gives finite numbers and the same shapes.

mod compare;
mod reference;
mod scramble;

use compare::Difference;
pub use reference::is_maskable_reduction;

use crate::cost::ExampleShapes;
use crate::cost::inputs::{Feeds, Inputs, OPEN_SIZES};
use crate::engine::{Engine, EngineError, Optimization, Session, SessionOptions, onnx_runtime, tract};
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::spec::report::{Certificate, CertificateCheck};

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

/// Which of two models could not be compared, and why.
enum Missing {
    Reference(EngineError),
    Candidate(EngineError),
}

impl Subject<'_> {
    /// Compares the cut model with the masked original.
    ///
    /// Errors: [`CertifyError::Failed`] where they differ; the original does not run; no inputs can be drawn.
    pub fn masked_equivalence(&self, tailor: &Tailor<'_>, plan: &Plan) -> Result<Certificate, CertifyError> {
        let masked = reference::masked(self.original, tailor, self.inferred);
        let draws = self.draws()?;
        let tolerance = self.tolerance();
        let (mut checks, reference_outputs) = self.compare(&masked, self.candidate, &draws, "own", tolerance)?;
        let vacuous = self.masks_change_nothing(&draws, &reference_outputs, tolerance);
        if vacuous {
            let failed = |what| CertifyError::Failed { what };
            let (scrambled, scrambled_cut) =
                scramble::scramble(self.original, self.candidate, plan, self.seed).map_err(failed)?;
            let masked = reference::masked(&scrambled, tailor, self.inferred);
            checks.extend(self.compare(&masked, &scrambled_cut, &draws, "random", tolerance)?.0);
        }
        Ok(Certificate {
            kind: "masked_equivalence".into(),
            passed: true,
            tolerance,
            checks,
            vacuous_on_own_weights: vacuous,
        })
    }

    /// Runs the candidate: it loads, gives finite numbers where the original does, and outputs of the same shapes.
    pub fn verified(&self) -> Result<Certificate, CertifyError> {
        let draws = self.draws()?;
        let mut checks = Vec::new();
        for engine in engines() {
            let runs = run_both(engine, self.original, self.candidate, &draws, self.threads);
            let (names, original, candidate) = match runs {
                Err(Missing::Candidate(error)) if engine.name() != "tract" => {
                    return Err(CertifyError::Failed { what: format!("the pruned model does not run: {error}") });
                }
                Err(Missing::Reference(error) | Missing::Candidate(error)) => {
                    checks.push(declined(engine.name(), &draws, "own", &error));
                    continue;
                }
                Ok(runs) => runs,
            };
            for (at, (batch, _)) in draws.iter().enumerate() {
                for (name, (a, b)) in names.iter().zip(original[at].iter().zip(&candidate[at])) {
                    if a.shape != b.shape || a.dtype != b.dtype || (is_finite(a) && !is_finite(b)) {
                        let what =
                            format!("on {} the output `{name}` has another shape or is not finite", engine.name());
                        return Err(CertifyError::Failed { what });
                    }
                    checks.push(check(engine.name(), name, *batch, "own", 0.0));
                }
            }
        }
        any_ran(&checks)?;
        let tolerance = self.tolerance();
        Ok(Certificate { kind: "verified".into(), passed: true, tolerance, checks, vacuous_on_own_weights: false })
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
        let engines = engines();
        let mut failure = None;
        for open in OPEN_SIZES {
            let draws = draw(open)?;
            for engine in &engines {
                let ran = load(*engine, self.original, self.threads)
                    .and_then(|mut session| run(session.as_mut(), &draws[0].1));
                match ran {
                    Ok(_) => return Ok(draws),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        match failure {
            Some(error) => Err(CertifyError::Original(error)),
            None => Err(CertifyError::Inputs("no inputs could be drawn".into())),
        }
    }

    /// One comparison on every engine; also gives the reference's outputs on the first engine that ran.
    fn compare(
        &self,
        reference: &Model,
        candidate: &Model,
        draws: &Draws,
        weights: &str,
        tolerance: f64,
    ) -> Result<(Vec<CertificateCheck>, Vec<Vec<Tensor>>), CertifyError> {
        let mut checks = Vec::new();
        let mut outputs = Vec::new();
        for engine in engines() {
            let (names, expected, found) = match run_both(engine, reference, candidate, draws, self.threads) {
                Ok(runs) => runs,
                Err(Missing::Candidate(error)) if engine.name() != "tract" => {
                    return Err(CertifyError::Failed { what: format!("the cut model does not run: {error}") });
                }
                Err(Missing::Reference(error) | Missing::Candidate(error)) => {
                    checks.push(declined(engine.name(), draws, weights, &error));
                    continue;
                }
            };
            for (position, name) in names.iter().enumerate() {
                let mut whole = Difference::default();
                for (at, (batch, _)) in draws.iter().enumerate() {
                    let mut difference = Difference::default();
                    for difference in [&mut difference, &mut whole] {
                        difference.add(&expected[at][position], &found[at][position]);
                    }
                    let error = difference.error();
                    if error > tolerance {
                        let what = format!(
                            "on {} with {weights} weights and batch {batch}, output `{name}` differs from the masked original by {error:.2e} of its scale",
                            engine.name()
                        );
                        return Err(CertifyError::Failed { what });
                    }
                    checks.push(check(engine.name(), name, *batch, weights, error));
                }
            }
            if outputs.is_empty() {
                outputs = expected;
            }
        }
        any_ran(&checks)?;
        Ok((checks, outputs))
    }

    /// Whether the masked original gives what the original gives, on the first engine that runs it.
    fn masks_change_nothing(&self, draws: &Draws, masked: &[Vec<Tensor>], tolerance: f64) -> bool {
        for engine in engines() {
            let outputs = load(engine, self.original, self.threads).and_then(|mut session| {
                draws.iter().map(|(_, feeds)| run(session.as_mut(), feeds)).collect::<Result<Vec<_>, _>>()
            });
            if let Ok(outputs) = outputs {
                let mut differences = vec![Difference::default(); outputs.first().map_or(0, Vec::len)];
                for (original, masked) in outputs.iter().zip(masked) {
                    for (difference, (a, b)) in differences.iter_mut().zip(original.iter().zip(masked)) {
                        difference.add(a, b);
                    }
                }
                return differences.iter().all(|difference| difference.error() <= tolerance);
            }
        }
        true
    }
}

/// The engines at hand. ONNX Runtime may be missing; tract never is.
fn engines() -> Vec<&'static dyn Engine> {
    static TRACT: std::sync::LazyLock<crate::engine::Tract> = std::sync::LazyLock::new(tract);
    let mut engines: Vec<&'static dyn Engine> = Vec::new();
    if let Ok(runtime) = onnx_runtime() {
        engines.push(runtime);
    }
    engines.push(&*TRACT);
    engines
}

fn load(engine: &dyn Engine, model: &Model, threads: usize) -> Result<Box<dyn Session>, EngineError> {
    let optimization = Optimization::Basic;
    engine.load(model, &SessionOptions { optimization, ..SessionOptions::with_threads(threads) })
}

fn run(session: &mut dyn Session, feeds: &Feeds) -> Result<Vec<Tensor>, EngineError> {
    let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run(&feeds)
}

/// Names of the outputs, and the outputs of both models for each draw.
type Both = (Vec<String>, Vec<Vec<Tensor>>, Vec<Vec<Tensor>>);

fn run_both(
    engine: &dyn Engine,
    reference: &Model,
    candidate: &Model,
    draws: &Draws,
    threads: usize,
) -> Result<Both, Missing> {
    let all = |model: &Model| {
        let mut session = load(engine, model, threads)?;
        let outputs = draws.iter().map(|(_, feeds)| run(session.as_mut(), feeds)).collect::<Result<Vec<_>, _>>()?;
        Ok((session.output_names().to_vec(), outputs))
    };
    let (names, expected) = all(reference).map_err(Missing::Reference)?;
    let (_, found) = all(candidate).map_err(Missing::Candidate)?;
    Ok((names, expected, found))
}

fn check(engine: &str, output: &str, batch_size: u64, weights: &str, error: f64) -> CertificateCheck {
    CertificateCheck {
        engine: engine.to_owned(),
        output: output.to_owned(),
        batch_size,
        weights: weights.to_owned(),
        error: Some(error),
        declined: None,
    }
}

fn declined(engine: &str, draws: &Draws, weights: &str, error: &EngineError) -> CertificateCheck {
    CertificateCheck {
        engine: engine.to_owned(),
        output: String::new(),
        batch_size: draws.first().map_or(1, |(batch, _)| *batch),
        weights: weights.to_owned(),
        error: None,
        declined: Some(shortened(&error.to_string())),
    }
}

/// Engines print whole graphs into their errors; the first line up to a bound says what it is about.
fn shortened(reason: &str) -> String {
    const LONGEST: usize = 300;
    let line = reason.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        line.to_owned()
    } else {
        line.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

/// A certificate that no engine has seen is none.
fn any_ran(checks: &[CertificateCheck]) -> Result<(), CertifyError> {
    if checks.iter().any(|check| check.error.is_some()) {
        return Ok(());
    }
    let reasons: Vec<&str> = checks.iter().filter_map(|check| check.declined.as_deref()).collect();
    Err(CertifyError::Failed { what: format!("no engine could compare the models: {}", reasons.join("; ")) })
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.to_f32().map_or(true, |values| values.iter().all(|value| value.is_finite()))
}
