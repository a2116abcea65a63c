//! The same random weights in a model and in its cut: for cuts whose removed channels were dead anyway.
//!
//! The original gets fresh weights; the cut gets the same ones at the indices that its plan keeps. Taking them is done
//! here by hand, element by element, so that it does not share a mistake with the surgery; where the surgery took other
//! elements of the original's own weights than this does, that is an error too.

use std::collections::HashMap;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::cost::inputs::normal;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;
use crate::prune::importance::is_contracted;
use crate::prune::surgery::{AxisCut, Plan, replace_constant};

/// Both models with random weights.
///
/// Errors: the tensor of the cut model that is not the part of the original that the plan says.
pub fn scramble(original: &Model, cut: &Model, plan: &Plan, seed: u64) -> Result<(Model, Model), String> {
    let graph = original.graph();
    let cut_graph = cut.graph();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut scrambled, mut scrambled_cut) = (original.clone(), cut.clone());
    let mut fresh: HashMap<String, Tensor> = HashMap::new();
    for name in constants(&graph) {
        let Some(Ok(tensor)) = graph.constant(&name) else { continue };
        let Some(random) = draw(&graph, &name, &tensor, &mut rng) else { continue };
        replace_constant(&mut scrambled, &name, &random).map_err(|error| error.to_string())?;
        let cuts: Vec<_> = plan.tensors.iter().filter(|cut| cut.tensor == name).collect();
        for change in &cuts {
            let own = cut_graph.constant(&change.becomes).and_then(Result::ok);
            if own.as_ref() != Some(&kept(&tensor, &change.axes)) {
                return Err(format!("`{}` is not the part of `{name}` that the plan keeps", change.becomes));
            }
            fresh.insert(change.becomes.clone(), kept(&random, &change.axes));
        }
        fresh.entry(name).or_insert(random);
    }
    for (name, tensor) in &fresh {
        replace_constant(&mut scrambled_cut, name, tensor).map_err(|error| error.to_string())?;
    }
    Ok((scrambled, scrambled_cut))
}

fn constants(graph: &Graph<'_>) -> Vec<String> {
    let initializers = graph.proto.initializer.iter().map(|tensor| tensor.name().to_owned());
    let nodes = graph.proto.node.iter().filter(|node| node.is("Constant")).flat_map(|node| node.output.iter().cloned());
    initializers.chain(nodes).collect()
}

/// Weights that keep the scale of what passes through them; parameters of normalisations stay positive and near 1.
/// `None` for constants that say how something is done: scalars, lists of integers, and what is no number.
fn draw(graph: &Graph<'_>, name: &str, tensor: &Tensor, rng: &mut ChaCha8Rng) -> Option<Tensor> {
    if matches!(tensor.dtype, DataType::Int8 | DataType::Uint8) && tensor.shape.len() > 1 {
        return Some(dealt_out(tensor, rng));
    }
    if !tensor.dtype.is_float() || tensor.len() < 2 {
        return None;
    }
    let used = graph.uses(name).iter().find_map(|used| Some((used.node, used.slot?)))?;
    let node = graph.node(used.0);
    let values: Vec<f32> = if is_contracted(graph, used.0, used.1) {
        let outputs = match node.op_type() {
            "Attention" | "FusedGemm" | "FusedMatMul" | "Gemm" | "MatMul" => *tensor.shape.last()?,
            "GRU" | "LSTM" | "RNN" => tensor.shape.iter().take(2).product(),
            _ => *tensor.shape.first()?,
        };
        let scale = (2.0 / (tensor.len() / outputs.max(1)).max(1) as f32).sqrt();
        (0..tensor.len()).map(|_| normal(rng) * scale).collect()
    } else if node.is("Gather") && used.1 == 0 {
        (0..tensor.len()).map(|_| normal(rng)).collect()
    } else if node.op_type().ends_with("Normalization") && matches!(used.1, 1 | 4) {
        (0..tensor.len()).map(|_| rng.random_range(0.5..1.5)).collect()
    } else if matches!(
        node.op_type(),
        "Conv"
            | "ConvTranspose"
            | "Gemm"
            | "BatchNormalization"
            | "GroupNormalization"
            | "GRU"
            | "InstanceNormalization"
            | "LayerNormalization"
            | "LSTM"
            | "RNN"
            | "Add"
            | "Sub"
            | "Mul"
            | "PRelu"
    ) {
        (0..tensor.len()).map(|_| rng.random_range(0.1..0.6)).collect()
    } else {
        return None;
    };
    tensor.with_f32(&tensor.shape, &values).ok()
}

/// Quantized weights in another order, for scales and zero points are made for their range; where all are the same, drawn anew.
fn dealt_out(tensor: &Tensor, rng: &mut ChaCha8Rng) -> Tensor {
    let mut data = tensor.data.to_vec();
    if data.iter().all(|value| *value == data[0]) {
        for value in &mut data {
            *value = rng.random();
        }
    }
    data.shuffle(rng);
    Tensor { dtype: tensor.dtype, shape: tensor.shape.clone(), data: data.into() }
}

/// What cuts leave of a tensor.
fn kept(tensor: &Tensor, cuts: &[AxisCut]) -> Tensor {
    let mut stays: Vec<Vec<bool>> = tensor.shape.iter().map(|size| vec![true; *size]).collect();
    for cut in cuts {
        cut.removed.iter().for_each(|index| stays[cut.axis][*index as usize] = false);
    }
    elements(tensor, &stays)
}

/// The elements whose index stays on every axis, found by walking over all of them: the last axis turns fastest, and
/// what an element's position is on each axis is counted along.
pub(super) fn elements(tensor: &Tensor, stays: &[Vec<bool>]) -> Tensor {
    let width = tensor.dtype.bits() / 8;
    let mut data = Vec::with_capacity(tensor.data.len());
    let mut index = vec![0; tensor.shape.len()];
    for element in tensor.data.chunks_exact(width) {
        if index.iter().zip(stays).all(|(at, stays)| stays[*at]) {
            data.extend_from_slice(element);
        }
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < tensor.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    let shape = stays.iter().map(|stays| stays.iter().filter(|stays| **stays).count()).collect();
    Tensor { dtype: tensor.dtype, shape, data: data.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_on_every_axis() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let tensor = Tensor::from_f32(&[2, 3, 4], &values);
        let cut = |axis, size, removed: &[u32]| AxisCut { axis, size, removed: removed.to_vec() };
        let cuts = [cut(0, 2, &[0]), cut(2, 4, &[1, 2])];
        assert_eq!(kept(&tensor, &cuts), Tensor::from_f32(&[1, 3, 2], &[12., 15., 16., 19., 20., 23.]));
        assert_eq!(kept(&tensor, &[]), tensor);
    }
}
