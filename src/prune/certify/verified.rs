//! Certificates of models whose values were changed by design: nothing can be said about their outputs but that they are
//! there, finite and of the right shapes.

use super::draws::Draws;
use super::engines::{Judge, Ran, judges, run};
use super::{CertifyError, Subject};
use crate::engine::EngineError;
use crate::onnx::model::Model;
use crate::onnx::shape::{Dim, Symbol};
use crate::onnx::tensor::Tensor;
use crate::spec::report::Certificate;

impl Subject<'_> {
    /// Runs the candidate: it loads, gives finite numbers where the original does, and outputs of the same shapes.
    ///
    /// Errors: [`CertifyError::Failed`] where it does not; no inputs can be drawn.
    pub fn verified(&self) -> Result<Certificate, CertifyError> {
        Ok(self.verified_with_error()?.0)
    }

    /// The same with the distance from the original: norm of the difference ÷ norm of the original's outputs, over all
    /// floating-point outputs on ONNX Runtime; `None` where they are not finite.
    pub fn verified_with_error(&self) -> Result<(Certificate, Option<f64>), CertifyError> {
        let draws = self.draws()?;
        let mut checks = Vec::new();
        let (mut difference, mut norm) = (0.0, 0.0);
        for judge in judges()? {
            let (original, candidate) = match self.both(judge, &draws) {
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
                    if let (true, Ok(a), Ok(b)) = (judge.decides && a.shape == b.shape, a.to_f32(), b.to_f32()) {
                        difference +=
                            a.iter().zip(&*b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
                        norm += a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
                    }
                    checks.push(judge.passed(name, *batch, "own", None));
                }
            }
        }
        let tolerance = self.tolerance();
        let certificate =
            Certificate { kind: "verified".into(), passed: true, tolerance, checks, vacuous_on_own_weights: false };
        let error = if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() };
        Ok((certificate, Some(error).filter(|error: &f64| error.is_finite())))
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

    /// Both models on every draw; the model that does not run, with the reason.
    fn both(&self, judge: Judge, draws: &Draws) -> Result<(Ran, Ran), (&'static str, EngineError)> {
        let all = |model: &Model| run(judge, model, draws.iter().map(|(_, feeds)| feeds), self.threads);
        let original = all(self.original).map_err(|error| ("the model that it is compared with", error))?;
        Ok((original, all(self.candidate).map_err(|error| ("the new model", error))?))
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.to_f32().map_or(true, |values| values.iter().all(|value| value.is_finite()))
}
