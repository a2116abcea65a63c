//! Applies a plan to the model that it was made for.
//!
//! Operator sets, IR version and the order of the nodes stay; shapes of intermediate values that the file declares are
//! dropped, because they would be stale.

use bytes::Bytes;

use super::SurgeryError;
use super::plan::{AxisCut, InputSlot, NumbersRewrite, Plan, TensorCut};
use crate::onnx::attribute::Attribute;
use crate::onnx::builder::value_info;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::proto::{Dimension, DimensionValue, TypeValue};
use crate::onnx::tensor::Tensor;

/// The IR version from which initializers need not be listed among the inputs.
const IR_WITH_FREE_INITIALIZERS: i64 = 4;

/// The model with its weights cut, its numbers still as they were.
///
/// Errors: the plan does not fit the model, or a constant cannot be read.
pub fn cut_tensors(model: &Model, plan: &Plan) -> Result<Model, SurgeryError> {
    let original = model.graph();
    let mut cut = model.clone();
    for change in &plan.tensors {
        cut_tensor(&original, &mut cut, change)?;
    }
    cut.graph_proto_mut().value_info.clear();
    Ok(cut)
}

/// Numbers and attributes of a model whose weights are cut.
///
/// Errors: as [`cut_tensors`].
pub fn rewrite(model: &Model, plan: &Plan, cut: &mut Model) -> Result<(), SurgeryError> {
    let original = model.graph();
    for change in &plan.numbers {
        rewrite_numbers(&original, cut, change)?;
    }
    for change in &plan.attributes {
        let node =
            cut.graph_proto_mut().node.get_mut(change.node).ok_or_else(|| SurgeryError::misfit(&change.label))?;
        let list = node.find_attribute(&change.attribute).is_some_and(|attribute| !attribute.ints.is_empty());
        match &change.integers {
            None => node.attribute.retain(|attribute| attribute.name() != change.attribute),
            Some(integers) if !list && integers.len() == 1 => {
                node.set_attribute(&change.attribute, Attribute::Int(integers[0]));
            }
            Some(integers) => node.set_attribute(&change.attribute, Attribute::Ints(integers.clone())),
        }
    }
    Ok(())
}

fn cut_tensor(original: &Graph<'_>, cut: &mut Model, change: &TensorCut) -> Result<(), SurgeryError> {
    let tensor = original.constant(&change.tensor).ok_or_else(|| SurgeryError::misfit(&change.tensor))?;
    let tensor = tensor.map_err(|source| SurgeryError::Tensor { tensor: change.tensor.clone(), source })?;
    let taken = take(&tensor, &change.axes).ok_or_else(|| SurgeryError::misfit(&change.tensor))?;
    if change.becomes == change.tensor {
        replace(cut, &change.tensor, &taken)
    } else {
        add(cut, &change.becomes, &taken, &change.uses)
    }
}

fn rewrite_numbers(original: &Graph<'_>, cut: &mut Model, change: &NumbersRewrite) -> Result<(), SurgeryError> {
    let (dtype, shape) = match &change.was {
        Some(name) => {
            let tensor = original.constant(name).ok_or_else(|| SurgeryError::misfit(name))?;
            let tensor = tensor.map_err(|source| SurgeryError::Tensor { tensor: name.clone(), source })?;
            (tensor.dtype, tensor.shape)
        }
        None => (DataType::Int64, change.shape.clone().unwrap_or_else(|| vec![change.elements.len()])),
    };
    let data: Bytes = match dtype {
        DataType::Int32 => change.elements.iter().flat_map(|element| (*element as i32).to_le_bytes()).collect(),
        _ => change.elements.iter().flat_map(|element| element.to_le_bytes()).collect(),
    };
    let tensor = Tensor::from_bytes(dtype, &shape, data)
        .map_err(|source| SurgeryError::Tensor { tensor: change.becomes.clone(), source })?;
    if change.was.as_ref() == Some(&change.becomes) {
        replace(cut, &change.becomes, &tensor)
    } else {
        add(cut, &change.becomes, &tensor, &change.uses)
    }
}

/// Puts a tensor in the place of the constant with this name: an initializer (with its declaration among the inputs,
/// where there is one) or a `Constant` node.
pub fn replace(cut: &mut Model, name: &str, tensor: &Tensor) -> Result<(), SurgeryError> {
    let graph = cut.graph_proto_mut();
    if let Some(proto) = graph.initializer.iter_mut().find(|proto| proto.name() == name) {
        let doc_string = proto.doc_string.take();
        let metadata_props = std::mem::take(&mut proto.metadata_props);
        *proto = tensor.to_proto(name);
        proto.doc_string = doc_string;
        proto.metadata_props = metadata_props;
        let declared = graph.input.iter_mut().filter(|info| info.name() == name);
        for info in declared {
            if let Some(TypeValue::Tensor(declared)) = info.r#type.as_mut().and_then(|kind| kind.value.as_mut())
                && let Some(shape) = &mut declared.shape
            {
                let size = |size: &usize| Dimension {
                    value: Some(DimensionValue::Value(*size as i64)),
                    ..Dimension::default()
                };
                shape.dim = tensor.shape.iter().map(size).collect();
            }
        }
        return Ok(());
    }
    let node =
        graph.node.iter_mut().find(|node| node.is("Constant") && node.output.iter().any(|output| output == name));
    let node = node.ok_or_else(|| SurgeryError::misfit(name))?;
    node.attribute.clear();
    node.set_attribute("value", Attribute::Tensor(tensor.to_proto("")));
    Ok(())
}

/// Adds an initializer and makes some inputs read it. The name must be free.
pub fn add(cut: &mut Model, name: &str, tensor: &Tensor, uses: &[InputSlot]) -> Result<(), SurgeryError> {
    let listed = cut.proto.ir_version() < IR_WITH_FREE_INITIALIZERS;
    let graph = cut.graph_proto_mut();
    graph.initializer.push(tensor.to_proto(name));
    if listed {
        let shape: Vec<_> = tensor.shape.iter().map(|size| (*size).into()).collect();
        graph.input.push(value_info(name, tensor.dtype, &shape));
    }
    for slot in uses {
        let node = graph.node.get_mut(slot.node).ok_or_else(|| SurgeryError::misfit(&slot.label))?;
        if node.input.len() <= slot.slot {
            node.input.resize(slot.slot + 1, String::new());
        }
        name.clone_into(&mut node.input[slot.slot]);
    }
    Ok(())
}

/// The tensor without the removed indices. `None` where the cuts do not fit its shape.
fn take(tensor: &Tensor, cuts: &[AxisCut]) -> Option<Tensor> {
    let mut tensor = tensor.clone();
    for cut in cuts {
        if tensor.shape.get(cut.axis) != Some(&cut.size) {
            return None;
        }
        let kept = cut.kept();
        let element = tensor.dtype.bits() / 8;
        let run: usize = tensor.shape[cut.axis + 1..].iter().product::<usize>() * element;
        let block = run * cut.size;
        let blocks = tensor.data.len().checked_div(block).unwrap_or(0);
        let data = match run {
            // One 32-bit element an index, as in the columns of a matrix: picked one by one.
            4 => pick_words(&tensor.data, cut.size, &kept)?,
            _ => copy_runs(&tensor.data, run, block, blocks, &kept)?,
        };
        let mut shape = tensor.shape.clone();
        shape[cut.axis] = kept.len();
        tensor = Tensor::from_bytes(tensor.dtype, &shape, data.into()).ok()?;
    }
    Some(tensor)
}

/// Rows of 4-byte elements with some columns.
fn pick_words(data: &[u8], columns: usize, kept: &[u32]) -> Option<Vec<u8>> {
    let (words, rest) = data.as_chunks::<4>();
    if !rest.is_empty() || kept.last().is_some_and(|last| *last as usize >= columns) {
        return None;
    }
    let mut picked: Vec<[u8; 4]> = Vec::with_capacity(words.len() / columns * kept.len());
    for row in words.chunks_exact(columns) {
        picked.extend(kept.iter().map(|column| row[*column as usize]));
    }
    Some(picked.into_flattened())
}

/// Blocks of runs with some runs; neighbouring runs are copied in one piece.
fn copy_runs(data: &[u8], run: usize, block: usize, blocks: usize, kept: &[u32]) -> Option<Vec<u8>> {
    let pieces: Vec<(usize, usize)> = kept
        .chunk_by(|a, b| a + 1 == *b)
        .map(|piece| (piece[0] as usize * run, (piece[piece.len() - 1] as usize + 1) * run))
        .collect();
    let mut copied = Vec::with_capacity(blocks * run * kept.len());
    for outer in 0..blocks {
        for (start, end) in &pieces {
            copied.extend_from_slice(data.get(outer * block + start..outer * block + end)?);
        }
    }
    Some(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_taken_from_any_axis() {
        let tensor = Tensor::from_f32(&[2, 3, 2], &[0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11.]);
        let cuts = [AxisCut { axis: 1, size: 3, removed: vec![1] }, AxisCut { axis: 2, size: 2, removed: vec![0] }];
        assert_eq!(take(&tensor, &cuts), Some(Tensor::from_f32(&[2, 2, 1], &[1., 5., 7., 11.])));
        assert_eq!(take(&tensor, &[AxisCut { axis: 0, size: 3, removed: vec![] }]), None);
    }
}
