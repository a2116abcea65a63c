//! Two models on the same inputs: on every engine, at the outputs, before what hides differences, and at the quantizers.
//! Knows nothing of how the two models came about.

use super::anchors::{Anchors, agree, is_comparable};
use super::compare::Difference;
use super::draws::Draws;
use super::engines::{Judge, Ran, judges, run};
use super::tails::Tails;
use super::{CertifyError, Subject};
use crate::cost::inputs::Feeds;
use crate::engine::EngineError;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::prune::surgery::Tailor;
use crate::spec::report::CertificateCheck;

/// What two engines may differ by on one model: approximated functions (exponential, error function) and other orders of sums
/// add up over a deep network to 1e-3; an operator that is understood otherwise differs by more.
const BETWEEN_ENGINES: f64 = 1e-2;

/// What is compared, and on which inputs.
pub struct Comparison<'s> {
    subject: &'s Subject<'s>,
    tails: Tails,
    anchors: Anchors,
    draws: Draws,
}

/// A comparison that was within bounds, with the reference's outputs on ONNX Runtime.
pub struct Compared {
    pub checks: Vec<CertificateCheck>,
    pub reference: Ran,
    /// Whether the engine that decides compared any number.
    pub proves: bool,
}

impl<'s> Comparison<'s> {
    /// Looks at where the two models can be compared.
    ///
    /// Errors: no inputs can be drawn.
    pub fn new(subject: &'s Subject<'s>, tailor: &Tailor<'_>) -> Result<Self, CertifyError> {
        let anchors = Anchors::new(subject.graph, subject.inferred, tailor, subject.candidate);
        let whole = |value: &str| !tailor.is_cut(value) && !anchors.compares(value);
        let tails = Tails::new(subject.graph, subject.inferred, &whole, &|value| anchors.gives(value));
        Ok(Self { subject, tails, anchors, draws: subject.draws()? })
    }

    /// One comparison on every engine.
    ///
    /// Errors: the models differ, or one of them does not run on the engine that decides.
    pub fn compare(&self, reference: &Model, candidate: &Model, weights: &str) -> Result<Compared, CertifyError> {
        let mut checks = Vec::new();
        let mut decided: Option<(Ran, Ran)> = None;
        let mut proves = false;
        for judge in judges()? {
            let (expected, found) = match self.both(judge, reference, candidate) {
                Ok(both) => both,
                Err((what, error)) => {
                    checks.push(judge.heed(error, what, weights, &self.draws)?);
                    continue;
                }
            };
            // An engine that gives other numbers for one and the same model says nothing about the other.
            if let Some((on_expected, on_found)) = &decided {
                let strays = self.strays(on_expected, &expected).or(self.strays(on_found, &found));
                if let Some(reason) = strays {
                    checks.push(judge.declined(reason, weights, &self.draws));
                    continue;
                }
            }
            for (at, (batch, _)) in self.draws.iter().enumerate() {
                let compared = self.one(judge, &expected, &found, at, weights)?;
                proves |= judge.decides && compared.iter().any(|(_, error)| error.is_some());
                checks.extend(compared.into_iter().map(|(name, error)| judge.passed(&name, *batch, weights, error)));
            }
            decided = decided.or(Some((expected, found)));
        }
        match decided {
            Some((reference, _)) if !checks.is_empty() => Ok(Compared { checks, reference, proves }),
            _ => Err(CertifyError::Failed { what: "there is no output that could be compared".into() }),
        }
    }

    /// The outputs of one draw that are compared, each with its error; of what the quantizers read, the worst.
    fn one(
        &self,
        judge: Judge,
        expected: &Ran,
        found: &Ran,
        at: usize,
        weights: &str,
    ) -> Result<Vec<(String, Option<f64>)>, CertifyError> {
        let batch = self.draws[at].0;
        let differs = |name: &str, by: &str| CertifyError::Failed {
            what: format!(
                "on {} with {weights} weights and batch {batch}, `{name}` differs from the masked original by {by}",
                judge.engine.name()
            ),
        };
        let mut compared = Vec::new();
        let mut worst: Option<(String, Option<f64>)> = None;
        for (position, name) in expected.names.iter().enumerate() {
            let (reference, other) = (&expected.outputs[at][position], &found.outputs[at][position]);
            if self.anchors.gives(name) && is_comparable(reference.dtype) {
                if !agree(reference, other, self.subject.is_half()) {
                    return Err(differs(name, "more than a step in few elements"));
                }
                continue;
            }
            if !self.anchors.compares(name) && !self.tails.compares(name) {
                continue;
            }
            let mut difference = Difference::default();
            difference.add(reference, other);
            let error = difference.error();
            if let Some(error) = error.filter(|error| *error > self.subject.tolerance()) {
                return Err(differs(name, &format!("{error:.2e} of its scale")));
            }
            if !self.anchors.compares(name) {
                compared.push((name.clone(), error));
            } else if worst.as_ref().is_none_or(|(_, known)| error > *known) {
                worst = Some((name.clone(), error));
            }
        }
        compared.extend(worst);
        Ok(compared)
    }

    /// A comparison on inputs that are set otherwise than the model computes them: an engine on which the original does not
    /// run so, for a branch may want other shapes than it is given, has nothing to say.
    ///
    /// Errors: as of [`Self::compare`].
    pub fn compare_where_it_runs(
        &self,
        reference: &Model,
        candidate: &Model,
        weights: &str,
    ) -> Result<Vec<CertificateCheck>, CertifyError> {
        let [runtime, _] = judges()?;
        match run(runtime, reference, self.feeds(), self.subject.threads) {
            Ok(_) => Ok(self.compare(reference, candidate, weights)?.checks),
            Err(error) => Ok(vec![runtime.declined(error.to_string(), weights, &self.draws)]),
        }
    }

    fn feeds(&self) -> impl Iterator<Item = &Feeds> {
        self.draws.iter().map(|(_, feeds)| feeds)
    }

    /// Both models on every draw, with what of the quantizers' values of the reference the candidate has; the model that
    /// does not run, with the reason.
    fn both(
        &self,
        judge: Judge,
        reference: &Model,
        candidate: &Model,
    ) -> Result<(Ran, Ran), (&'static str, EngineError)> {
        let threads = self.subject.threads;
        let reference = self.anchors.observe(&self.tails.observe(reference));
        let mut expected = run(judge, &reference, self.feeds(), threads)
            .map_err(|error| ("the model that it is compared with", error))?;
        for outputs in &mut expected.outputs {
            for (name, output) in expected.names.iter().zip(outputs) {
                if self.anchors.compares(name) {
                    *output = self.anchors.kept(name, output).into_owned();
                }
            }
        }
        let candidate = self.anchors.hand_over(&self.tails.observe(candidate));
        let given = |outputs: &Vec<Tensor>| self.anchors.feeds(&expected.names, outputs);
        let feeds: Vec<Feeds> =
            self.feeds().zip(&expected.outputs).map(|(own, outputs)| [own.clone(), given(outputs)].concat()).collect();
        let found = run(judge, &candidate, &feeds, threads).map_err(|error| ("the new model", error))?;
        Ok((expected, found))
    }

    /// Whether the masked original gives what the original gives.
    ///
    /// Errors: the original does not run.
    pub fn masks_change_nothing(&self, original: &Model, masked: &Ran) -> Result<bool, CertifyError> {
        let [runtime, _] = judges()?;
        let model = self.tails.observe(original);
        let original = run(runtime, &model, self.feeds(), self.subject.threads).map_err(CertifyError::Original)?;
        let mut differences = vec![Difference::default(); original.names.len()];
        for (original, masked) in original.outputs.iter().zip(&masked.outputs) {
            for (difference, (a, b)) in differences.iter_mut().zip(original.iter().zip(masked)) {
                difference.add(a, b);
            }
        }
        let tolerance = self.subject.tolerance();
        Ok(differences.iter().all(|difference| difference.error().is_none_or(|error| error <= tolerance)))
    }

    /// Where an engine gives other outputs for a model than the one that decides. Behind quantizers engines may differ by
    /// whole steps; there they are compared each with itself alone.
    fn strays(&self, decided: &Ran, other: &Ran) -> Option<String> {
        let compared = |name: &str| self.tails.compares(name) && !self.anchors.compares(name);
        for (position, name) in decided.names.iter().enumerate().filter(|(_, name)| compared(name)) {
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
}
