//! Losses: what training makes small, and its gradient at the scores.

use super::emit::{Emitter, Value};
use super::forward::Forward;
use crate::onnx::model::Model;

/// Why no loss can be put on an output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossError {
    #[error("the model has no output `{0}`")]
    NoOutput(String),
    #[error("output `{output}` has the shape {shape:?} for {samples} samples, not one score for each class")]
    Shape { output: String, shape: Vec<usize>, samples: usize },
    #[error("the shape or element type of output `{0}` is not known before the model runs")]
    Unknown(String),
    #[error(
        "output `{output}` comes from {operator}, not from a Softmax or a layer: its values are not the scores of classes of which one is right"
    )]
    NotScores { output: String, operator: String },
}

/// A loss on the scores of classes.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Input of the training graph: the share of each class in each sample's target, rows summing to 1, `[samples, classes]`.
    pub targets: Value,
    /// The mean over the batch, a scalar.
    pub loss: Value,
    /// The logits, `[samples, classes]`.
    pub logits: Value,
    /// Where the way back begins: the value that holds the logits in the model, and its gradient.
    pub seed: (String, Value),
}

/// The output that is scored: the named one or the first.
pub fn scored_output(model: &Model, name: Option<&str>) -> Result<String, LossError> {
    let mut outputs = model.graph_proto().output.iter().map(|info| info.name().to_owned());
    match name {
        Some(name) => outputs.find(|output| output == name).ok_or_else(|| LossError::NoOutput(name.to_owned())),
        None => outputs.next().ok_or_else(|| LossError::NoOutput(String::new())),
    }
}

/// L = −1/n Σ targets · log softmax(logits), with dlogits = (softmax(logits) − targets) / n.
///
/// Where the output comes out of a `Softmax`, its input is taken for the logits: the same loss without the rounding of
/// probabilities near 0 and 1.
pub fn cross_entropy(forward: &mut Forward, output: &str, samples: usize) -> Result<CrossEntropy, LossError> {
    let logits = logits(forward, output)?;
    let value = forward.value(&logits).cloned().ok_or_else(|| LossError::Unknown(output.to_owned()))?;
    let classes = value.len().checked_div(samples).unwrap_or(0);
    let others = value.shape.iter().skip(2).all(|size| *size == 1);
    if !value.dtype.is_float()
        || value.shape.first() != Some(&samples)
        || value.shape.get(1) != Some(&classes)
        || !others
        || classes < 2
    {
        return Err(LossError::Shape { output: output.to_owned(), shape: value.shape, samples });
    }
    let emit = &mut forward.emit;
    let targets = Value { name: emit.fresh("targets"), dtype: value.dtype, shape: vec![samples, classes] };
    let flat = emit.reshape(&value, &targets.shape);
    let log = emit.unary("LogSoftmax", &flat);
    let loss = mean_entropy(emit, &log, &targets);
    let probabilities = emit.unary("Exp", &log);
    let excess = emit.sub(&probabilities, &targets);
    let gradient = emit.scale(&excess, 1.0 / samples as f64);
    let gradient = emit.reshape(&gradient, &value.shape);
    Ok(CrossEntropy { targets, loss, logits: flat, seed: (logits, gradient) })
}

fn mean_entropy(emit: &mut Emitter, log: &Value, targets: &Value) -> Value {
    let product = emit.mul(log, targets);
    let sum = emit.sum(&product, &[0, 1], false);
    emit.scale(&sum, -1.0 / log.shape[0] as f64)
}

/// The value that holds the logits of an output: the output itself, or the input of the `Softmax` that it comes from.
///
/// Errors: it comes from an operator whose results are no scores of classes.
pub fn logits(forward: &Forward, output: &str) -> Result<String, LossError> {
    let mut name = output.to_owned();
    loop {
        let Some(node) = forward.nodes().iter().find(|node| node.output.contains(&name)) else {
            return Ok(output.to_owned());
        };
        match node.op_type() {
            "Softmax" => return Ok(node.input[0].clone()),
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast" => name.clone_from(&node.input[0]),
            "Sigmoid" | "HardSigmoid" | "ArgMax" | "TopK" | "NonMaxSuppression" => {
                return Err(LossError::NotScores { output: output.to_owned(), operator: node.label() });
            }
            _ => return Ok(output.to_owned()),
        }
    }
}
