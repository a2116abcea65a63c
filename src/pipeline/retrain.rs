//! A retrain step.

use super::checkpoint::Checkpointer;
use super::{StepContext, StepOutcome, Stop};
use crate::cost::inputs::Feeds;
use crate::data::{Dataset, Reader};
use crate::onnx::model::Model;
use crate::prune::{self, CertifyError, PruneError};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::job::{Stage, Step};
use crate::spec::report::Certificate;
use crate::spec::retrain::RetrainSpec;
use crate::train::{self, TrainError};

/// Trains the model on the step's dataset, from the checkpoint where there is one, and runs what came out.
pub(super) fn run(
    spec: &RetrainSpec,
    step: &Step,
    model: &Model,
    context: &StepContext,
    checkpoints: &mut Checkpointer,
) -> Result<StepOutcome, Stop> {
    context.observer.stage(Stage::Loading, context.step);
    let dataset = context
        .dataset(step, spec.preprocess.as_ref())?
        .ok_or_else(|| Failure::new(FailureCode::InvalidSpec, "a retrain step needs a dataset"))?;
    context.observer.stage(Stage::Retraining, context.step);
    let mut training = train::Context {
        threads: context.threads,
        observer: context.observer,
        checkpoints,
        step: context.step,
        progress: context.part.clone(),
    };
    let mut trained = train::retrain(model, &dataset, spec, &mut training).map_err(|error| match error {
        TrainError::Interrupted => Stop::Interrupted,
        error => Stop::Failed(error.into()),
    })?;
    context.observer.stage(Stage::Certifying, context.step);
    trained.report.certificate = certify(
        model,
        &trained.model,
        &samples(&dataset, model)?,
        context.threads.max(1) as usize,
        spec.seed,
        &mut trained.findings,
    )?;
    let mut report = context.report(trained.findings);
    report.retrain = Some(trained.report);
    Ok(StepOutcome { model: Some(trained.model), report, plan: None })
}

/// Holds the trained model against the one it was made from. Where nothing can be drawn that the model runs on (token
/// ids of a vocabulary that does not show, say), a training of hours is not lost: a finding says that there is no proof.
///
/// Errors: `certificate_failed` where the trained model does not run, gives other shapes, or numbers that are not finite.
fn certify(
    model: &Model,
    trained: &Model,
    samples: &[Feeds],
    threads: usize,
    seed: u64,
    findings: &mut Vec<String>,
) -> Result<Option<Certificate>, Failure> {
    match prune::verify(model, trained, samples, threads, seed) {
        Ok(certificate) => Ok(Some(certificate)),
        Err(CertifyError::Original(error)) => {
            findings.push(format!(
                "the trained model has no certificate: the one it was made from does not run on drawn inputs: {error}"
            ));
            Ok(None)
        }
        Err(CertifyError::Inputs(reason)) => {
            findings.push(format!("the trained model has no certificate: {reason}"));
            Ok(None)
        }
        Err(error) => Err(PruneError::from(error).into()),
    }
}

/// Two batches of the dataset's first samples: what the model meets is what it has to give numbers for.
fn samples(dataset: &Dataset, model: &Model) -> Result<[Feeds; 2], Failure> {
    let reader = Reader::new(dataset, model)?;
    let sizes = reader.fixed_batch().map_or([2, 3], |batch| [batch; 2]);
    let batch = |size: usize| {
        let samples: Vec<usize> = (0..size).map(|sample| sample % dataset.len()).collect();
        reader.batch(&samples).map(|batch| batch.inputs)
    };
    Ok([batch(sizes[0])?, batch(sizes[1])?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;
    use crate::onnx::tensor::Tensor;

    fn dense(width: usize, weight: f32) -> Model {
        let mut b = GraphBuilder::new("dense");
        let x = b.input("x", DataType::Float, &["n".into(), 4.into()]);
        let w = b.initializer("w", &Tensor::from_f32(&[4, width], &vec![weight; 4 * width]));
        let y = b.node("MatMul", &[&x, &w], &[]);
        b.output(&y, DataType::Float, &["n".into(), width.into()]);
        b.build(17)
    }

    fn certified(model: &Model, trained: &Model, findings: &mut Vec<String>) -> Result<Option<Certificate>, Failure> {
        certify(model, trained, &[], 1, 1, findings)
    }

    #[test]
    fn a_trained_model_that_runs_like_its_origin_is_certified_on_both_engines() {
        let certificate = certified(&dense(3, 1.0), &dense(3, 2.0), &mut Vec::new()).unwrap().unwrap();
        let engines: Vec<&str> = certificate.checks.iter().map(|check| check.engine.as_str()).collect();
        assert!(engines.contains(&"onnxruntime") && engines.contains(&"tract"), "{certificate:#?}");
        assert!(certificate.passed && certificate.kind == "verified", "{certificate:#?}");
    }

    #[test]
    fn a_trained_model_that_is_not_finite_or_has_other_shapes_is_refused() {
        for wrong in [dense(3, f32::NAN), dense(3, f32::INFINITY), dense(2, 1.0)] {
            let failure = certified(&dense(3, 1.0), &wrong, &mut Vec::new()).unwrap_err();
            assert_eq!(failure.code, FailureCode::CertificateFailed, "{failure}");
        }
    }

    #[test]
    fn what_overflows_on_drawn_inputs_alone_is_certified_on_samples() {
        let grows = |weight: f32| {
            let mut b = GraphBuilder::new("grows");
            let x = b.input("x", DataType::Float, &["n".into(), 4.into()]);
            let w = b.initializer("w", &Tensor::from_f32(&[4, 1], &[weight; 4]));
            let y = b.node("MatMul", &[&x, &w], &[]);
            let y = b.node("Exp", &[&y], &[]);
            b.output(&y, DataType::Float, &["n".into(), 1.into()]);
            b.build(17)
        };
        let samples = [vec![("x".to_owned(), Tensor::from_f32(&[2, 4], &[-1.0; 8]))]];
        let certify = |samples: &[Feeds]| certify(&grows(1.0), &grows(900.0), samples, 1, 1, &mut Vec::new());
        assert_eq!(certify(&[]).unwrap_err().code, FailureCode::CertificateFailed);
        assert!(certify(&samples).unwrap().unwrap().passed);
    }

    #[test]
    fn an_origin_that_runs_on_nothing_that_can_be_drawn_costs_the_certificate_and_is_told() {
        let mut b = GraphBuilder::new("sequence");
        let x = b.input("x", DataType::String, &["n".into()]);
        let y = b.node("Identity", &[&x], &[]);
        b.output(&y, DataType::String, &["n".into()]);
        let model = b.build(17);
        let mut findings = Vec::new();
        assert_eq!(certified(&model, &model, &mut findings).unwrap(), None);
        assert!(findings[0].contains("no certificate"), "{findings:?}");
    }
}
