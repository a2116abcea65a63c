//! Makes models smaller: which channels go together ([`coupling`]), which matter least ([`importance`]), what goes
//! ([`allocate`]), the cut ([`surgery`]) and proof that what is left computes what it should ([`certify`]).
//!
//! Where there are calibration samples, the values inside the model are observed ([`mod@observe`]), and how far the result
//! is from the original ([`drift`]). Knows nothing of jobs or files. A model goes in, a smaller model with its report comes
//! out; nothing comes out without a certificate.

mod allocate;
mod analysis;
mod certify;
mod coupling;
mod depth;
mod drift;
mod error;
mod gram;
mod handed_on;
mod importance;
mod latency;
mod low_rank;
mod names;
mod observe;
mod recover;
mod store;
mod structured;
mod surgery;
mod sweep;
mod synthetic;
mod unstructured;
mod untouched;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod random_graphs;
#[cfg(test)]
mod real_models;

use observe::ObserveError;
use recover::Recovery;

pub use analysis::{Analysis, analyze};
pub use certify::CertifyError;
pub use error::PruneError;
pub use surgery::{AttributeRewrite, AxisCut, GraphStep, InputSlot, NumbersRewrite, Plan, TensorCut};
pub use synthetic::{Made, SyntheticError, make as make_samples};

use crate::cost::inputs::Feeds;
use crate::cost::{self, Host};
use crate::data::Calibration;
use crate::onnx::bodies::{self, LaidOut};
use crate::onnx::graph::Graph;
use crate::onnx::inline;
use crate::onnx::model::Model;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::spec::job::Stage;
use crate::spec::prune::{Method, PruneSpec};
use crate::spec::report::{Certificate, Frozen, PruneReport};

/// A pruned model.
#[derive(Clone, Debug)]
pub struct Pruned {
    pub model: Model,
    /// What was cut; `None` where only values changed.
    pub plan: Option<Plan>,
    pub report: PruneReport,
    /// Things worth knowing that are not failures, each a sentence.
    pub findings: Vec<String>,
}

/// Prunes a model and certifies the result, which a dry run leaves out; with calibration samples it is recovered as the
/// spec says, and its drift is measured. `entered` hears of each stage.
///
/// Errors: the target cannot be reached, the model cannot be read or run, or the result is not what it should be.
pub fn prune(
    model: &Model,
    spec: &PruneSpec,
    calibration: Option<&Calibration<'_>>,
    threads: usize,
    entered: &dyn Fn(Stage),
) -> Result<Pruned, PruneError> {
    prune_beside_others(model, spec, calibration, threads, &Host::alone(), entered)
}

/// As [`prune`], on a machine where others work as well: latency is measured while they are not, as far as that can be had,
/// and what was measured is kept for them.
///
/// Errors: as [`prune`].
pub fn prune_beside_others(
    model: &Model,
    spec: &PruneSpec,
    calibration: Option<&Calibration<'_>>,
    threads: usize,
    host: &Host,
    entered: &dyn Fn(Stage),
) -> Result<Pruned, PruneError> {
    entered(Stage::Pruning);
    let written_out = inline::functions(model);
    let (model, finding) = match &written_out {
        Ok(None) => (model, None),
        Ok(Some(written_out)) => {
            let finding = "calls of the model's functions were written out; the plan counts the nodes that came of it";
            (written_out, Some(finding.to_owned()))
        }
        Err(reason) => (model, Some(format!("calls of the model's functions stay as they are: {reason}"))),
    };
    let inferred = crate::onnx::shape::infer(model);
    let graph = model.graph();
    let run = Run { model, graph: &graph, inferred: &inferred, spec, calibration, threads, host, entered };
    let mut pruned = match spec.method {
        Method::Structured => run.structured()?,
        Method::Unstructured => run.unstructured()?,
        Method::Depth => run.depth()?,
        Method::LowRank => run.low_rank()?,
    };
    pruned.findings.extend(finding);
    if let Some(calibration) = calibration {
        run.recover(&mut pruned, calibration)?;
        pruned.report.drift = Some(drift::measure(model, &pruned.model, calibration.held_out(), threads)?);
    }
    if spec.method == Method::Unstructured {
        run.store(&mut pruned)?;
    }
    Ok(pruned)
}

/// The certificate of a model whose function was changed by design: it loads, runs, gives finite numbers where the original
/// does, and outputs of the original's shapes. It runs on the samples, or on drawn inputs of their shapes where the original
/// does not run on them.
///
/// Errors: it does not, or nothing can be drawn that the original runs on.
pub fn verify(
    original: &Model,
    candidate: &Model,
    samples: &[Feeds],
    threads: usize,
    seed: u64,
) -> Result<Certificate, CertifyError> {
    let (graph, inferred) = (original.graph(), crate::onnx::shape::infer(original));
    let sizes = |tensor: &Tensor| tensor.shape.iter().map(|size| *size as u64).collect();
    let examples = samples.iter().flatten().map(|(name, tensor)| (name.clone(), sizes(tensor))).collect();
    let subject = certify::Subject {
        original,
        graph: &graph,
        inferred: &inferred,
        candidate,
        examples: &examples,
        samples,
        threads,
        seed,
    };
    subject.verified()
}

/// The structured cut alone, without its certificate: for measurements.
///
/// Errors: as [`prune`], but for those of the certificate.
pub fn cut_without_certificate(model: &Model, spec: &PruneSpec) -> Result<(Model, Plan), PruneError> {
    let inferred = crate::onnx::shape::infer(model);
    let (graph, host) = (model.graph(), Host::alone());
    let cloth = structured::Cloth { model, graph: &graph, inferred: &inferred, spec, evidence: None, host: &host };
    let cut = structured::cut(cloth)?;
    Ok((cut.model, cut.plan))
}

struct Run<'a> {
    model: &'a Model,
    graph: &'a Graph<'a>,
    inferred: &'a Inferred,
    spec: &'a PruneSpec,
    calibration: Option<&'a Calibration<'a>>,
    threads: usize,
    host: &'a Host,
    entered: &'a dyn Fn(Stage),
}

impl Run<'_> {
    /// Climbs the spec's rungs from the certified cut. What comes out computes something else by design, so that it is
    /// verified anew.
    fn recover(&self, pruned: &mut Pruned, calibration: &Calibration<'_>) -> Result<(), PruneError> {
        if self.spec.recovery.is_empty() || self.spec.dry_run {
            return Ok(());
        }
        (self.entered)(Stage::Recovering);
        let recovery = Recovery {
            original: self.model,
            inferred: self.inferred,
            calibration,
            plan: pruned.plan.as_ref(),
            keep_zeros: self.spec.method == Method::Unstructured,
            threads: self.threads,
            seed: self.spec.seed,
        };
        let (model, rungs) = recovery.climb(pruned.model.clone(), &self.spec.recovery)?;
        if rungs.iter().any(|rung| rung.kept) {
            (self.entered)(Stage::Certifying);
            let samples = calibration.few().map_err(ObserveError::from)?.map(|batch| batch.inputs);
            let certificate = verify(self.model, &model, &samples, self.threads, self.spec.seed)?;
            pruned.report.recovered_certificate = Some(certificate);
            // A bias that was not there adds parameters.
            pruned.report.size_after = cost::size(&model, &self.spec.example_shapes);
            pruned.model = model;
        } else {
            pruned.findings.push(
                "no repair brought the outputs nearer to the original's: the model is the cut as it was certified"
                    .to_owned(),
            );
        }
        pruned.report.recovery = rungs;
        Ok(())
    }

    /// What criteria look at beside weights.
    fn evidence(&self) -> Option<importance::Evidence<'_>> {
        self.calibration.map(|calibration| importance::Evidence {
            model: self.model,
            inferred: self.inferred,
            samples: calibration.fitting(),
            threads: self.threads,
        })
    }

    /// The cut, made with the graphs of If, Loop and Scan nodes laid out where they can be.
    fn structured(&self) -> Result<Pruned, PruneError> {
        let Some(laid_out) = bodies::lay_out(self.model) else { return self.structured_in(self, None) };
        let model = &laid_out.model;
        let (graph, inferred) = (model.graph(), crate::onnx::shape::infer(model));
        let run = Run { model, graph: &graph, inferred: &inferred, ..*self };
        let mut pruned = self.structured_in(&run, Some(&laid_out))?;
        pruned.findings.push("graphs inside of nodes were cut with what is around them".to_owned());
        Ok(pruned)
    }

    /// The cut of a model that stands for this one, with its bodies laid out or as it is.
    fn structured_in(&self, run: &Run<'_>, laid_out: Option<&LaidOut>) -> Result<Pruned, PruneError> {
        let evidence = self.evidence();
        let cut = structured::cut(structured::Cloth {
            model: run.model,
            graph: run.graph,
            inferred: run.inferred,
            spec: self.spec,
            evidence: evidence.as_ref(),
            host: self.host,
        })?;
        let certificate = if self.spec.dry_run {
            None
        } else {
            (self.entered)(Stage::Certifying);
            let tailor = surgery::Tailor::new(run.model, run.graph, run.inferred, &cut.coupling, &cut.selection);
            Some(run.subject(&cut.model).masked_equivalence(&tailor, &cut.plan)?)
        };
        let mut findings = Vec::new();
        if certificate.as_ref().is_some_and(|certificate| certificate.vacuous_on_own_weights) {
            findings.push(
                "the removed channels did not reach the outputs on the certificate's inputs; the proof is the comparison with random weights"
                    .to_owned(),
            );
        }
        let (removed, groups, parameters) = (cut.removed(), cut.groups(), cost::parameter_count(self.model));
        let coverage_parameters = cut.coverage(run.graph, parameters);
        let (model, plan) = match laid_out {
            Some(laid_out) => {
                let folded = bodies::folded(&cut.model);
                let plan = cut.plan.placed(laid_out, &folded);
                (folded.model, plan)
            }
            None => (cut.model, cut.plan),
        };
        let report = PruneReport {
            removed,
            groups,
            coverage_parameters,
            frozen: cut.coupling.frozen,
            latency: cut.latency,
            notes: cut.notes,
            ..self.report(&model, certificate)
        };
        Ok(Pruned { model, plan: Some(plan), report, findings })
    }

    /// The report of a method that has made a model of this one, with nothing of what only some methods have.
    fn report(&self, made: &Model, certificate: Option<Certificate>) -> PruneReport {
        PruneReport {
            method: self.spec.method.name().into(),
            criterion: self.spec.criterion.as_str().into(),
            size_before: cost::size(self.model, &self.spec.example_shapes),
            size_after: cost::size(made, &self.spec.example_shapes),
            removed: 0.0,
            groups: Vec::new(),
            blocks: Vec::new(),
            layers: Vec::new(),
            frozen: Vec::new(),
            coverage_parameters: 0.0,
            dry_run: self.spec.dry_run,
            certificate,
            recovery: Vec::new(),
            recovered_certificate: None,
            synthetic: None,
            drift: None,
            stored: None,
            output_error: None,
            latency: None,
            notes: Vec::new(),
        }
    }

    /// The certificate of a model whose function was changed by design, and how far its outputs are from the original's;
    /// neither for a dry run.
    fn proved(&self, candidate: &Model) -> Result<(Option<Certificate>, Option<f64>), PruneError> {
        if self.spec.dry_run {
            return Ok((None, None));
        }
        (self.entered)(Stage::Certifying);
        let (certificate, output_error) = self.subject(candidate).verified_with_error()?;
        Ok((Some(certificate), output_error))
    }

    fn subject<'s>(&'s self, candidate: &'s Model) -> certify::Subject<'s> {
        certify::Subject {
            original: self.model,
            graph: self.graph,
            inferred: self.inferred,
            candidate,
            examples: &self.spec.example_shapes,
            samples: &[],
            threads: self.threads,
            seed: self.spec.seed,
        }
    }
}

/// The reasons of what was left alone, each once, to be put behind the message of a target that was missed.
fn left_alone(frozen: &[Frozen]) -> String {
    let mut reasons: Vec<&str> = frozen.iter().map(|frozen| frozen.reason.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    if reasons.is_empty() { String::new() } else { format!(" (left alone: {})", reasons.join("; ")) }
}
