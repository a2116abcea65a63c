//! New numbers in the constants of a model.

use super::layer::Bias;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::prune::surgery::{FreshNames, InputSlot, SurgeryError, add_constant, replace_constant};

/// Adds numbers to a constant, element by element, through a function from its elements.
///
/// Errors: it is no constant of the model, or cannot be read.
pub fn change(model: &mut Model, name: &str, to: impl FnOnce(&mut [f32])) -> Result<(), SurgeryError> {
    let tensor = constant(model, name)?;
    let changed = changed(name, &tensor, to)?;
    replace_constant(model, name, &changed)
}

/// Adds a number to each channel of a bias, one that is not there yet included. A bias that others read too is copied.
///
/// Errors: as [`change`].
pub fn add_to_bias(
    model: &mut Model,
    bias: &Bias,
    stem: &str,
    like: &Tensor,
    added: &[f64],
) -> Result<(), SurgeryError> {
    let Bias::Input { node, slot, constant: name } = bias else { return Ok(()) };
    let add = |values: &mut [f32]| {
        for (value, added) in values.iter_mut().zip(added) {
            *value = (f64::from(*value) + added) as f32;
        }
    };
    let shared = |name: &str| model.graph().uses(name).len() > 1;
    match name {
        Some(name) if !shared(name) => change(model, name, add),
        _ => {
            let tensor = match name {
                Some(name) => constant(model, name)?,
                None => changed(stem, like, |_| {})?
                    .with_f32(&[added.len()], &vec![0.0; added.len()])
                    .map_err(|source| unreadable(stem, source))?,
            };
            let tensor = changed(stem, &tensor, add)?;
            let becomes = FreshNames::new(&model.graph()).after(&format!("{}_bias", name.as_deref().unwrap_or(stem)));
            let label = model.graph().node(*node).label();
            add_constant(model, &becomes, &tensor, &[InputSlot { graph: Vec::new(), node: *node, label, slot: *slot }])
        }
    }
}

/// A constant of the model.
pub fn constant(model: &Model, name: &str) -> Result<Tensor, SurgeryError> {
    let graph = model.graph();
    let tensor = graph.constant(name).ok_or_else(|| SurgeryError::Misfit { place: name.to_owned() })?;
    tensor.map_err(|source| unreadable(name, source))
}

fn changed(name: &str, tensor: &Tensor, to: impl FnOnce(&mut [f32])) -> Result<Tensor, SurgeryError> {
    let mut values = tensor.to_f32().map_err(|source| unreadable(name, source))?.into_owned();
    to(&mut values);
    tensor.with_f32(&tensor.shape, &values).map_err(|source| unreadable(name, source))
}

fn unreadable(name: &str, source: crate::onnx::tensor::TensorError) -> SurgeryError {
    SurgeryError::Tensor { tensor: name.to_owned(), source }
}
