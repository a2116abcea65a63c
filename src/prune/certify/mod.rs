//! Proof that a pruned model computes what it should.
//!
//! A structured cut is compared with the original under masks ([`mod@reference`]) on drawn inputs, on every engine, at its
//! outputs, before what hides differences there ([`tails`]) and at each quantizer ([`anchors`]); once with its own weights, and once with random weights in
//! both graphs ([`scramble`]), so that channels that were dead are proven too; and, where there are branches and loops, once for
//! each way that they can go. What changes values by design (unstructured
//! zeros, training) is verified ([`verified`]): it loads, runs, gives finite numbers and the same shapes.

mod anchors;
mod compare;
mod comparison;
mod draws;
mod engines;
mod masks;
mod normalised;
mod reference;
mod scramble;
mod tails;
mod verified;

use comparison::Comparison;

use super::surgery::{Plan, Tailor};
use crate::cost::ExampleShapes;
use crate::cost::inputs::Feeds;
use crate::engine::EngineError;
use crate::onnx::bodies::Ways;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::spec::report::Certificate;

/// Allowed |difference| ÷ scale. Sums of 32-bit floats in another order differ by about 1e-6; a wrong channel by more
/// than 1e-2. Half precision has 11 bits.
const TOLERANCE: f64 = 1e-4;
const TOLERANCE_HALF: f64 = 2e-2;

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

impl Subject<'_> {
    /// Compares the cut model with the masked original.
    ///
    /// Errors: [`CertifyError::Failed`] where they differ or do not run; no inputs can be drawn.
    pub fn masked_equivalence(&self, tailor: &Tailor<'_>, plan: &Plan) -> Result<Certificate, CertifyError> {
        let comparison = Comparison::new(self, tailor)?;
        let masked = |original: &Model| reference::masked(original, tailor, self.inferred);
        let own = comparison.compare(&masked(self.original), self.candidate, "own")?;
        let vacuous = comparison.masks_change_nothing(self.original, &own.reference)?;
        let failed = |what| CertifyError::Failed { what };
        let (scrambled, scrambled_cut) =
            scramble::scramble(self.original, self.candidate, plan, self.seed).map_err(failed)?;
        let random = comparison.compare(&masked(&scrambled), &scrambled_cut, "random")?;
        let shows = || Ok(random.proves && !comparison.masks_change_nothing(&scrambled, &random.reference)?);
        if (!own.proves || vacuous) && !shows()? {
            let what = "on drawn inputs the model gives no finite numbers that show whether the cut is right: what is removed \
                        changes no output, neither with its own weights nor with random ones";
            return Err(CertifyError::Inputs(what.into()));
        }
        let mut checks = own.checks;
        checks.extend(random.checks);
        for way in Ways::all(self.original) {
            let weights = format!("own, {}", way.label());
            let (reference, candidate) = (way.set(&masked(self.original)), way.set(self.candidate));
            checks.extend(comparison.compare_where_it_runs(&reference, &candidate, &weights)?);
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
        if self.is_half() { TOLERANCE_HALF } else { TOLERANCE }
    }

    /// Whether anything has 16 bits.
    fn is_half(&self) -> bool {
        let half = |name: &str| self.inferred.dtype(name).is_some_and(|dtype| dtype.is_float() && dtype.bits() == 16);
        self.graph.proto.node.iter().flat_map(|node| &node.output).any(|name| half(name))
    }
}
