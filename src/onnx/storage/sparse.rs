//! Weights given by their elements that are not zero (`GraphProto.sparse_initializer`, coordinates with values).
//!
//! In memory they are dense like all others, and their names are kept, so that they are written as they came where that
//! takes less room. ONNX Runtime makes them dense too when it reads them: such a file is smaller, and runs no faster.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use crate::onnx::check::Unsound;
use crate::onnx::dtype::DataType;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto};
use crate::onnx::tensor::{Tensor, TensorError};

/// The first version of the format with sparse initializers.
const FIRST_IR_VERSION: i64 = 6;

/// Makes every sparse initializer and constant dense. Returns the names of those of the main graph.
///
/// The model is checked (`super::super::check`): values and indices hold what their shapes say.
///
/// Errors: `Sparse` where indices do not fit, `SparseTooLarge` where all of them together take more than `most_bytes`.
pub fn densify(model: &mut ModelProto, most_bytes: u64) -> Result<BTreeSet<String>, Unsound> {
    let mut room = Room { left: most_bytes, limit: most_bytes };
    let names = match &mut model.graph {
        Some(graph) => {
            let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
            let names = sparse.map(|values| values.name().to_owned()).collect();
            densify_graph(graph, &mut room)?;
            names
        }
        None => BTreeSet::new(),
    };
    for function in &mut model.functions {
        densify_nodes(&mut function.node, &mut room)?;
    }
    Ok(names)
}

/// Bytes that may still be taken.
struct Room {
    left: u64,
    limit: u64,
}

fn densify_graph(graph: &mut GraphProto, room: &mut Room) -> Result<(), Unsound> {
    for sparse in std::mem::take(&mut graph.sparse_initializer) {
        let name = sparse.values.as_ref().map_or("", TensorProto::name).to_owned();
        graph.initializer.push(dense(&sparse, &name, room)?.to_proto(&name));
    }
    densify_nodes(&mut graph.node, room)
}

fn densify_nodes(nodes: &mut [NodeProto], room: &mut Room) -> Result<(), Unsound> {
    for node in nodes {
        let constant = node.is("Constant");
        let made = node.output.first().cloned().unwrap_or_default();
        for attribute in &mut node.attribute {
            if constant
                && attribute.name() == "sparse_value"
                && let Some(sparse) = attribute.sparse_tensor.take()
            {
                attribute.t = Some(dense(&sparse, &made, room)?.to_proto(&made));
                attribute.name = Some("value".into());
                attribute.r#type = Some(TENSOR);
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                densify_graph(graph, room)?;
            }
        }
    }
    Ok(())
}

/// `AttributeProto.AttributeType.TENSOR`.
const TENSOR: i32 = 4;

fn dense(sparse: &SparseTensorProto, name: &str, room: &mut Room) -> Result<Tensor, Unsound> {
    let broken = |reason| Unsound::Tensor { tensor: name.to_owned(), reason };
    let odd = |reason: &str| Unsound::Sparse { tensor: name.to_owned(), reason: reason.to_owned() };
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        return Err(odd("it has no values or no indices"));
    };
    let values = Tensor::from_proto(values).map_err(broken)?;
    let indices = Tensor::from_proto(indices).map_err(broken)?;
    let width = match values.dtype.bits() {
        bits if bits > 0 && bits % 8 == 0 => bits / 8,
        _ => return Err(odd("its elements are no whole bytes")),
    };
    if values.shape.len() != 1 {
        return Err(odd("its values are not one list"));
    }
    let mut shape = Vec::with_capacity(sparse.dims.len());
    for (axis, size) in sparse.dims.iter().enumerate() {
        shape.push(usize::try_from(*size).map_err(|_| broken(TensorError::NegativeSize { axis, size: *size }))?);
    }
    let size = crate::onnx::tensor::element_count(&shape)
        .and_then(|count| count.checked_mul(width))
        .ok_or_else(|| broken(TensorError::TooLarge(sparse.dims.clone())))?;
    room.left = (room.left.checked_sub(size as u64))
        .ok_or_else(|| Unsound::SparseTooLarge { tensor: name.to_owned(), limit: room.limit })?;

    let positions = positions(&indices, &shape, values.len()).map_err(odd)?;
    let mut data = vec![0_u8; size];
    for (position, value) in positions.into_iter().zip(values.data.chunks_exact(width)) {
        data[position * width..(position + 1) * width].copy_from_slice(value);
    }
    Ok(Tensor { dtype: values.dtype, shape, data: Bytes::from(data) })
}

/// Where each value goes in the dense tensor: indices are positions, or one coordinate an axis.
fn positions(indices: &Tensor, shape: &[usize], count: usize) -> Result<Vec<usize>, &'static str> {
    if indices.dtype != DataType::Int64 {
        return Err("its indices are not 64-bit integers");
    }
    let elements: usize = shape.iter().product();
    let numbers = indices.to_i64().map_err(|_| "its indices cannot be read")?;
    let positions: Option<Vec<usize>> = match *indices.shape {
        [found] if found == count => {
            numbers.iter().map(|at| usize::try_from(*at).ok().filter(|at| *at < elements)).collect()
        }
        [found, rank] if found == count && rank == shape.len() && rank > 0 => numbers
            .chunks_exact(rank)
            .map(|coordinates| {
                coordinates.iter().zip(shape).try_fold(0_usize, |position, (at, size)| {
                    let at = usize::try_from(*at).ok().filter(|at| at < size)?;
                    Some(position * size + at)
                })
            })
            .collect(),
        _ => return Err("its indices are not one position, or one coordinate an axis, for each value"),
    };
    let positions = positions.ok_or("an index lies outside of its shape")?;
    if positions.is_sorted_by(|a, b| a < b) { Ok(positions) } else { Err("its indices do not rise") }
}

/// The model with the named initializers of its main graph in sparse form, those of them that take less room so; `None`
/// where none does.
pub fn sparsified(model: &ModelProto, names: &BTreeSet<String>) -> Option<ModelProto> {
    let graph = model.graph.as_ref().filter(|_| !names.is_empty() && model.ir_version() >= FIRST_IR_VERSION)?;
    let inputs = inputs(graph);
    let (mut dense, mut sparse) = (Vec::new(), Vec::new());
    for tensor in &graph.initializer {
        let wanted = names.contains(tensor.name()) && !inputs.contains(tensor.name());
        match wanted.then(|| sparse_form(tensor)).flatten() {
            Some(smaller) => sparse.push(smaller),
            None => dense.push(tensor.clone()),
        }
    }
    if sparse.is_empty() {
        return None;
    }
    let rest = GraphProto { initializer: Vec::new(), ..graph.clone() };
    let model = ModelProto { graph: None, ..model.clone() };
    Some(ModelProto { graph: Some(GraphProto { initializer: dense, sparse_initializer: sparse, ..rest }), ..model })
}

/// The names among the inputs of a graph. A sparse initializer cannot be the default of an input.
fn inputs(graph: &GraphProto) -> HashSet<&str> {
    graph.input.iter().map(ValueInfoProto::name).collect()
}

/// The initializers of a main graph that take less room in sparse form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Those that can be kept so.
    pub names: BTreeSet<String>,
    /// Why others, or all, have to stay dense.
    pub barred: Option<Barred>,
}

/// Why initializers have to stay dense that would take less room in sparse form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    #[error("the file is of IR version {version}, and weights in sparse form came with {FIRST_IR_VERSION}")]
    Version { version: i64 },
    #[error(
        "{count} of the weights with zeros enough are listed among the model's inputs, which cannot be kept in sparse form"
    )]
    Inputs { count: usize },
}

/// What [`sparsified`] keeps in sparse form where all are named.
pub fn candidates(model: &ModelProto) -> Candidates {
    let Some(graph) = &model.graph else { return Candidates::default() };
    let mut smaller = graph.initializer.iter().filter(|tensor| sparse_form(tensor).is_some()).map(TensorProto::name);
    let version = model.ir_version();
    if version < FIRST_IR_VERSION {
        return Candidates { barred: smaller.next().map(|_| Barred::Version { version }), ..Candidates::default() };
    }
    let inputs = inputs(graph);
    let (listed, free): (Vec<&str>, Vec<&str>) = smaller.partition(|name| inputs.contains(name));
    let barred = (!listed.is_empty()).then_some(Barred::Inputs { count: listed.len() });
    Candidates { names: free.into_iter().map(str::to_owned).collect(), barred }
}

/// A tensor by its elements that are not zero, bit by bit, where that takes less room.
fn sparse_form(tensor: &TensorProto) -> Option<SparseTensorProto> {
    use prost::Message as _;
    let dense = Tensor::from_proto(tensor).ok()?;
    let width = match dense.dtype.bits() {
        bits if bits > 0 && bits % 8 == 0 => bits / 8,
        _ => return None,
    };
    let elements = || dense.data.chunks_exact(width);
    let present = elements().filter(|element| element.iter().any(|byte| *byte != 0)).count();
    // The cheap half of the comparison first: a dense weight is not listed only to be thrown away.
    if present.checked_mul(width + size_of::<i64>())? >= dense.data.len() {
        return None;
    }
    let (mut values, mut indices) = (Vec::with_capacity(present * width), Vec::with_capacity(present));
    for (at, element) in elements().enumerate().filter(|(_, element)| element.iter().any(|byte| *byte != 0)) {
        values.extend_from_slice(element);
        indices.push(at as i64);
    }
    let sparse = SparseTensorProto {
        values: Some(TensorProto {
            dims: vec![present as i64],
            raw_data: Some(values.into()),
            float_data: Vec::new(),
            int32_data: Vec::new(),
            int64_data: Vec::new(),
            double_data: Vec::new(),
            uint64_data: Vec::new(),
            ..tensor.clone()
        }),
        indices: Some(TensorProto {
            dims: vec![present as i64],
            ..Tensor::from_i64(&[present], &indices).to_proto("")
        }),
        dims: tensor.dims.clone(),
    };
    (sparse.encoded_len() < tensor.encoded_len()).then_some(sparse)
}
