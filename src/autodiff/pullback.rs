//! Gradients of a model as it infers, for any gradient of one of its outputs: the way back alone.
//!
//! What the output's gradient is, which is to say what the loss is, is the caller's question.

use std::collections::BTreeMap;

use super::backward::differentiate;
use super::emit::Value;
use super::forward::{Forward, Mode};
use super::loss::{LossError, logits};
use super::training::{explain, name_outputs, untrainable};
use crate::onnx::model::Model;
use crate::spec::report::Frozen;

/// The way back as a model.
///
/// Inputs: those of the model that matter, and the gradient of the value. Outputs: the gradient of each of `weights`.
#[derive(Debug)]
pub struct Pullback {
    pub model: Model,
    /// The value that it leads back from: the output, or what a `Softmax` made it of.
    pub value: String,
    /// The input that takes the gradient of the value, in its shape.
    pub seed: Value,
    pub weights: Vec<String>,
    /// Wanted weights without a gradient.
    pub frozen: Vec<Frozen>,
}

/// Makes the way back from `output` to the `wanted` constants of a raised model, for inputs of the given shapes.
///
/// Errors: the output's shape or element type is not known, or not that of floats.
pub fn pullback(
    model: &Model,
    shapes: &BTreeMap<String, Vec<i64>>,
    output: &str,
    wanted: &[&str],
) -> Result<Pullback, LossError> {
    let mut forward = Forward::new(model, shapes, Mode::Inference);
    let value = logits(&forward, output).unwrap_or_else(|_| output.to_owned());
    let found = forward.value(&value).filter(|value| value.dtype.is_float()).cloned();
    let end = found.ok_or_else(|| LossError::Unknown(output.to_owned()))?;
    let seed = Value { name: forward.emit.fresh("seed"), ..end };
    let mut frozen = Vec::new();
    let mut open = Vec::new();
    for name in wanted {
        match untrainable(&forward, name) {
            Some(reason) => frozen.push(Frozen { what: (*name).to_owned(), operator: None, reason }),
            None => open.push((*name).to_owned()),
        }
    }
    let mut gradients = differentiate(&mut forward, &[(value.clone(), seed.clone())], &open);
    frozen.extend(gradients.frozen.drain(..).map(explain));
    let found = |name: String| gradients.of.remove(&name).map(|gradient| (name, gradient));
    let (weights, outputs): (Vec<String>, Vec<Value>) = open.into_iter().filter_map(found).unzip();
    let mut model = forward.into_model(&outputs, std::slice::from_ref(&seed));
    name_outputs(&mut model);
    Ok(Pullback { model, value, seed, weights, frozen })
}
