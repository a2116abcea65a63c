//! Normalisation over the batch.

use super::{Gradients, NoGradient, Rule, Step};
use crate::autodiff::emit::{Emitter, Value};
use crate::onnx::attribute::Attribute;

pub const RULES: &[(&str, Rule)] = &[("BatchNormalization", batch_normalization)];

/// y = scale · x̂ + bias with x̂ = (x − mean) / √(var + ε) over the batch and all positions; the mean and the variance depend
/// on x, which takes two terms off its gradient:
/// dx = scale / √(var + ε) · (dy − mean(dy) − x̂ · mean(dy · x̂)), dscale = Σ dy · x̂, dbias = Σ dy.
///
/// The node is in training mode, with the batch's own mean and variance as outputs 1 and 2 ([`crate::autodiff::forward`]).
/// x̂ and the part of dx that is affine in it are written as `BatchNormalization` in inference mode: one pass over the data
/// instead of two.
fn batch_normalization(step: &mut Step) -> Gradients {
    let (x, scale, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    if step.node.int("training_mode").unwrap_or(0) == 0 {
        return Err(NoGradient("normalises with fixed statistics".into()));
    }
    let (mean, variance) = (step.y(1)?, step.y(2)?);
    let epsilon = step.node.float("epsilon").unwrap_or(1e-5);
    let channels = x.shape[1];
    let others: Vec<usize> = (0..x.rank()).filter(|axis| *axis != 1).collect();
    let count = x.len() as f64 / channels as f64;
    let emit = &mut *step.emit;
    let (one, zero) = (vec![1.0; channels], vec![0.0; channels]);
    let ones = emit.floats(&x, &[channels], &one);
    let zeros = emit.floats(&x, &[channels], &zero);

    let normalized = affine(emit, &x, [&ones, &zeros, &mean, &variance], epsilon);
    let dbias = emit.sum(&dy, &others, false);
    let product = emit.mul(&dy, &normalized);
    let dscale = emit.sum(&product, &others, false);
    let dx = step.wanted[0].then(|| {
        let deviation = emit.shift(&variance, f64::from(epsilon));
        let deviation = emit.unary("Sqrt", &deviation);
        let factor = emit.div(&scale, &deviation);
        let share = emit.scale(&factor, -1.0 / count);
        let slope = emit.mul(&share, &dscale);
        let offset = emit.mul(&share, &dbias);
        let correction = affine(emit, &normalized, [&slope, &offset, &zeros, &ones], 0.0);
        let mut wide = vec![1; x.rank()];
        wide[1] = channels;
        let factor = emit.reshape(&factor, &wide);
        let direct = emit.mul(&dy, &factor);
        emit.add(&direct, &correction)
    });
    Ok(vec![dx, step.wanted[1].then_some(dscale), step.wanted[2].then_some(dbias), None, None])
}

/// scale · (x − mean) / √(variance + ε) + bias, per channel, in one pass.
fn affine(emit: &mut Emitter, x: &Value, parameters: [&Value; 4], epsilon: f32) -> Value {
    let [scale, bias, mean, variance] = parameters;
    let attributes = [("epsilon", Attribute::Float(epsilon))];
    emit.node("BatchNormalization", &[x, scale, bias, mean, variance], &attributes, x.dtype, &x.shape)
}
