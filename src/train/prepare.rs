//! From a model as it was uploaded to one that can be trained: layers untied, operators raised to one version, training
//! graph made.

use std::collections::BTreeMap;

use crate::autodiff::training::{TrainingGraph, training_graph};
use crate::data::{Dataset, Reader};
use crate::onnx::batch::free;
use crate::onnx::model::Model;
use crate::onnx::raise::{TRAINING_OPSET, raise};
use crate::spec::retrain::RetrainSpec;

use super::error::TrainError;
use super::untie::untie;

/// A model on its way through training.
#[derive(Debug)]
pub struct Prepared {
    /// The uploaded model with its layers untied: what trained numbers are written back into.
    pub original: Model,
    /// The same in one operator set with a free batch: what is differentiated and validated.
    pub raised: Model,
    pub graph: TrainingGraph,
    pub findings: Vec<String>,
}

/// Prepares a model for batches of `batch` samples.
pub fn prepare(model: &Model, dataset: &Dataset, spec: &RetrainSpec, batch: usize) -> Result<Prepared, TrainError> {
    let mut original = model.clone();
    let mut findings = Vec::new();
    let copies = untie(&mut original);
    if copies > 0 {
        findings
            .push(format!("{copies} vectors that the file stores once for several layers were given to each layer"));
    }
    let raised = if Reader::new(dataset, &original)?.fixed_batch().is_some() {
        // The copy alone: what is exported keeps the batch that its users feed it.
        let freed = free(&original)?;
        findings.extend(freed.notes.into_iter().map(|note| format!("for training: {note}")));
        raise(&freed.model, TRAINING_OPSET)?.model
    } else {
        raise(&original, TRAINING_OPSET)?.model
    };
    let reader = Reader::new(dataset, &raised)?;
    let shapes = shapes(&reader, batch)?;
    let mut graph = training_graph(&raised, &shapes, batch, spec.output.as_deref())?;
    findings.append(&mut graph.findings);
    if graph.weights.is_empty() {
        let reason = graph.frozen.first().map_or_else(
            || "it has no convolution, dense layer or normalisation with constant weights".to_owned(),
            |frozen| format!("{}: {}", frozen.what, frozen.reason),
        );
        return Err(TrainError::NothingToTrain { reason });
    }
    Ok(Prepared { original, raised, graph, findings })
}

/// The shape of each input for batches of `batch` samples, as the dataset gives them.
fn shapes(reader: &Reader, batch: usize) -> Result<BTreeMap<String, Vec<i64>>, TrainError> {
    let one = reader.batch(&[0])?;
    let shape = |shape: &[usize]| shape.iter().map(|size| *size as i64).collect::<Vec<_>>();
    Ok((one.inputs.into_iter())
        .map(|(name, tensor)| {
            let mut sizes = shape(&tensor.shape);
            if let Some(first) = sizes.first_mut() {
                *first = batch as i64;
            }
            (name, sizes)
        })
        .collect())
}
