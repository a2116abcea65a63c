//! One ONNX graph for a training step: forward, loss and backward.
//!
//! Weights are inputs and gradients outputs, so that the optimizer is no part of it; so are the statistics of each batch
//! normalisation.

use std::collections::{BTreeMap, HashSet};

use super::backward::{Blocked, differentiate};
use super::emit::Value;
use super::forward::{Forward, Mode, Normalization};
use super::loss::{LossError, cross_entropy, scored_output};
use super::parameters::{Role, parameters};
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::spec::report::Frozen;

/// A training step as a model.
///
/// Outputs in order: the loss (a scalar), the logits `[samples, classes]`, the gradient of each of `weights`, mean and
/// variance of each of `normalizations`.
#[derive(Debug)]
pub struct TrainingGraph {
    pub model: Model,
    /// Name of the input that takes the targets, `[samples, classes]`, rows summing to 1.
    pub targets: String,
    pub classes: usize,
    /// The value of the model that holds the logits, in the shape that it has there.
    pub logits: Value,
    /// The weights that are trained; each is an input under its initializer's name.
    pub weights: Vec<Weight>,
    pub normalizations: Vec<Normalization>,
    pub frozen: Vec<Frozen>,
    /// Remarks for the report, each a sentence.
    pub findings: Vec<String>,
}

/// A weight that is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    pub name: String,
    pub shape: Vec<usize>,
    /// Whether weight decay applies: contraction weights of two or more axes.
    pub decays: bool,
}

/// Makes the training step of a raised model for batches of the given input shapes.
///
/// `output` is the scored output, the first by default. Weights whose gradient cannot be had are listed in `frozen`.
pub fn training_graph(
    model: &Model,
    shapes: &BTreeMap<String, Vec<i64>>,
    samples: usize,
    output: Option<&str>,
) -> Result<TrainingGraph, LossError> {
    let output = scored_output(model, output)?;
    let mut forward = Forward::new(model, shapes, Mode::Training);
    let loss = cross_entropy(&mut forward, &output, samples)?;
    let mut frozen = Vec::new();
    let mut roles = Vec::new();
    for parameter in parameters(&model.graph()) {
        match untrainable(&forward, &parameter.name) {
            Some(reason) => frozen.push(Frozen { what: parameter.name, operator: None, reason }),
            None => roles.push(parameter),
        }
    }
    let wanted: Vec<String> = roles.iter().map(|parameter| parameter.name.clone()).collect();
    let logits = Value { name: loss.seed.0.clone(), ..loss.seed.1.clone() };
    let mut gradients = differentiate(&mut forward, &[loss.seed], &wanted);
    frozen.extend(gradients.frozen.drain(..).map(explain));

    let mut outputs = vec![loss.loss, loss.logits];
    let mut weights = Vec::new();
    for parameter in roles {
        let Some(gradient) = gradients.of.remove(&parameter.name) else { continue };
        forward.free(&parameter.name);
        weights.push(Weight {
            decays: parameter.role == Role::Matrix && gradient.rank() >= 2,
            shape: gradient.shape.clone(),
            name: parameter.name,
        });
        outputs.push(gradient);
    }
    let normalizations = active(&forward, &outputs);
    outputs.extend(normalizations.iter().flat_map(|normalization| normalization.batch.iter().cloned()));
    let findings = std::mem::take(&mut forward.findings);
    let classes = loss.targets.shape[1];
    let targets = loss.targets.name.clone();
    let mut model = forward.into_model(&outputs, &[loss.targets]);
    name_outputs(&mut model);
    Ok(TrainingGraph { model, targets, classes, logits, weights, normalizations, frozen, findings })
}

/// Why a constant of a parameter's slot is left as it is.
pub(super) fn untrainable(forward: &Forward, name: &str) -> Option<String> {
    let Some(tensor) = forward.constants.get(name) else { return Some("its elements cannot be read".into()) };
    if tensor.dtype != DataType::Float {
        return Some(format!("its element type is {}, and training computes in float", tensor.dtype));
    }
    let finite = tensor.to_f32().is_ok_and(|elements| elements.iter().all(|element| element.is_finite()));
    (!finite).then(|| "it holds values that are not finite, as masks do".into())
}

pub(super) fn explain(blocked: Blocked) -> Frozen {
    let reason = match &blocked.node {
        Some(node) => format!("its gradient would pass through {node}, which {}", blocked.reason),
        None => blocked.reason,
    };
    Frozen { what: blocked.value, operator: blocked.node, reason }
}

/// The normalisations that the loss depends on.
fn active(forward: &Forward, outputs: &[Value]) -> Vec<Normalization> {
    let mut needed: HashSet<&str> = outputs.iter().map(|value| value.name.as_str()).collect();
    for node in forward.emit.nodes.iter().rev() {
        if node.output.iter().any(|name| needed.contains(name.as_str())) {
            needed.extend(node.input.iter().map(String::as_str));
            needed.extend(node.output.iter().map(String::as_str));
        }
    }
    forward
        .normalizations
        .iter()
        .filter(|n| n.batch.iter().any(|value| needed.contains(value.name.as_str())))
        .cloned()
        .collect()
}

/// Gives every output a node of its own, for a graph may name a value as an output only once, and two weights may have
/// the same gradient.
pub(super) fn name_outputs(model: &mut Model) {
    let graph = model.graph_proto_mut();
    let mut seen = HashSet::new();
    for (position, output) in graph.output.iter_mut().enumerate() {
        if !seen.insert(output.name().to_owned()) {
            let name = format!("{}__output_{position}", output.name());
            graph.node.push(crate::onnx::proto::NodeProto {
                name: Some(name.clone()),
                op_type: Some("Identity".into()),
                input: vec![output.name().to_owned()],
                output: vec![name.clone()],
                ..Default::default()
            });
            output.name = Some(name);
        }
    }
}
