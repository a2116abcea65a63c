//! The engines that certificates are made on, and models run there. Knows nothing of what is compared.
//!
//! ONNX Runtime is the judge: what it cannot run fails. tract is the second opinion: what it cannot run it declines, and
//! the certificate says so.

use crate::cost::inputs::Feeds;
use crate::engine::{Engine, EngineError, Optimization, Session, SessionOptions, onnx_runtime, tract};
use crate::onnx::bodies;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::spec::report::CertificateCheck;

use super::CertifyError;
use super::draws::Draws;

/// An engine with its say.
#[derive(Clone, Copy)]
pub struct Judge {
    pub engine: &'static dyn Engine,
    /// Whether a model that does not run here has failed.
    pub decides: bool,
}

impl Judge {
    /// What an error of this engine means: it fails the certificate, or is noted there.
    ///
    /// Errors: the engine decides.
    pub fn heed(
        self,
        error: EngineError,
        what: &str,
        weights: &str,
        draws: &Draws,
    ) -> Result<CertificateCheck, CertifyError> {
        match error {
            EngineError::OutOfMemory { .. } | EngineError::Unavailable { .. } => Err(CertifyError::Engine(error)),
            _ if self.decides => Err(CertifyError::Failed { what: format!("{what} does not run: {error}") }),
            _ => Ok(self.declined(shortened(&error.to_string()), weights, draws)),
        }
    }

    /// This engine has no say, for a reason.
    pub fn declined(self, reason: String, weights: &str, draws: &Draws) -> CertificateCheck {
        CertificateCheck {
            engine: self.engine.name().to_owned(),
            output: String::new(),
            batch_size: draws.first().map_or(1, |(batch, _)| *batch),
            weights: weights.to_owned(),
            error: None,
            declined: Some(reason),
        }
    }

    /// A comparison that was within bounds; `None` where no numbers were compared.
    pub fn passed(self, output: &str, batch_size: u64, weights: &str, error: Option<f64>) -> CertificateCheck {
        CertificateCheck {
            engine: self.engine.name().to_owned(),
            output: output.to_owned(),
            batch_size,
            weights: weights.to_owned(),
            error,
            declined: None,
        }
    }
}

/// ONNX Runtime, then tract.
///
/// Errors: ONNX Runtime cannot be opened.
pub fn judges() -> Result<[Judge; 2], CertifyError> {
    static TRACT: std::sync::LazyLock<crate::engine::Tract> = std::sync::LazyLock::new(tract);
    let runtime = onnx_runtime().map_err(CertifyError::Engine)?;
    Ok([Judge { engine: runtime, decides: true }, Judge { engine: &*TRACT, decides: false }])
}

/// What a model gave: the names of its outputs, and the outputs for each draw.
pub struct Ran {
    pub names: Vec<String>,
    pub outputs: Vec<Vec<Tensor>>,
}

/// Runs a model on feeds, one after the other.
pub fn run<'f>(
    judge: Judge,
    model: &Model,
    feeds: impl IntoIterator<Item = &'f Feeds>,
    threads: usize,
) -> Result<Ran, EngineError> {
    let optimization = if quantizes(model) { Optimization::Disabled } else { Optimization::Basic };
    let options = SessionOptions { optimization, ..SessionOptions::with_threads(threads) };
    let mut session = judge.engine.load(&bodies::fold(model), &options)?;
    let outputs = feeds.into_iter().map(|feeds| run_once(session.as_mut(), feeds)).collect::<Result<_, _>>()?;
    Ok(Ran { names: session.output_names().to_vec(), outputs })
}

/// Whether a model quantizes what it computes. ONNX Runtime fuses operators with the quantization beside them, and rounds
/// otherwise then; masks stand in the way of that in one of two models.
fn quantizes(model: &Model) -> bool {
    model.graph_proto().node.iter().any(|node| node.op_type().contains("QuantizeLinear"))
}

fn run_once(session: &mut dyn Session, feeds: &Feeds) -> Result<Vec<Tensor>, EngineError> {
    let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run(&feeds)
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
