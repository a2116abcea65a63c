//! Single weights set to zero: the smallest of all weights of contractions go, wherever they are.

use bytes::Bytes;

use crate::onnx::attribute::Attribute;
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::tensor::{Tensor, TensorError};
use crate::spec::prune::Criterion;

use super::importance::{ImportanceError, is_contracted};

/// A model with zeros.
#[derive(Clone, Debug)]
pub struct Sparse {
    pub model: Model,
    /// Weights that could go.
    pub prunable: u64,
    /// Weights that are zero now, those that were before included.
    pub zeros: u64,
}

/// Sets the given share of the weights of convolutions and matrix products to zero, those of least magnitude first, ties
/// by tensor and position. `Random` draws which go. Excluded constants stay.
///
/// Errors: a weight that cannot be read or is not a number.
pub fn sparsify(
    model: &Model,
    share: f64,
    criterion: Criterion,
    seed: u64,
    exclude: &globset::GlobSet,
) -> Result<Sparse, ImportanceError> {
    let graph = model.graph();
    let mut weights = Vec::new();
    for name in contracted(&graph, exclude) {
        let unreadable = |source: TensorError| ImportanceError::Weight { tensor: name.to_owned(), source };
        let Some(tensor) = graph.constant(name) else { continue };
        let tensor = tensor.map_err(unreadable)?;
        if tensor.dtype.is_float() {
            let values = tensor.to_f32().map_err(unreadable)?.into_owned();
            if values.iter().any(|value| value.is_nan()) {
                return Err(ImportanceError::NotANumber { tensor: name.to_owned() });
            }
            weights.push((name, tensor, values));
        }
    }
    let prunable: usize = weights.iter().map(|(_, _, values)| values.len()).sum();
    let wanted = (share * prunable as f64).round() as usize;
    let mut keys: Vec<(f64, usize)> = match criterion {
        Criterion::Random => super::importance::draw(seed, prunable).into_iter().zip(0..).collect(),
        Criterion::L1 | Criterion::L2 => {
            weights.iter().flat_map(|(_, _, values)| values).map(|value| f64::from(value.abs())).zip(0..).collect()
        }
    };
    if wanted > 0 && wanted < keys.len() {
        keys.select_nth_unstable_by(wanted - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
    let mut goes = vec![false; prunable];
    keys[..wanted.min(prunable)].iter().for_each(|(_, at)| goes[*at] = true);
    let mut sparse = model.clone();
    let (mut offset, mut zeros) = (0, 0);
    for (name, tensor, values) in &weights {
        let width = tensor.dtype.bits() / 8;
        let mut data = tensor.data.to_vec();
        for (at, value) in values.iter().enumerate() {
            if goes[offset + at] {
                data[at * width..(at + 1) * width].fill(0);
            }
            zeros += u64::from(goes[offset + at] || *value == 0.0);
        }
        offset += values.len();
        replace(&mut sparse, name, &Tensor { data: Bytes::from(data), ..tensor.clone() });
    }
    Ok(Sparse { model: sparse, prunable: prunable as u64, zeros })
}

/// The constants that are multiplied and summed over, each once, in the order of their first use.
fn contracted<'g>(graph: &Graph<'g>, exclude: &globset::GlobSet) -> Vec<&'g str> {
    let mut names: Vec<&str> = Vec::new();
    for (index, node) in graph.proto.node.iter().enumerate().filter(|(_, node)| !exclude.is_match(node.name())) {
        for (slot, name) in node.input.iter().enumerate() {
            if is_contracted(graph, index, slot) && !names.contains(&name.as_str()) && !exclude.is_match(name) {
                names.push(name);
            }
        }
    }
    names
}

fn replace(model: &mut Model, name: &str, tensor: &Tensor) {
    let graph = model.graph_proto_mut();
    if let Some(proto) = graph.initializer.iter_mut().find(|proto| proto.name() == name) {
        *proto = tensor.to_proto(name);
    } else if let Some(node) =
        graph.node.iter_mut().find(|node| node.is("Constant") && node.output.iter().any(|output| output == name))
    {
        node.attribute.clear();
        node.set_attribute("value", Attribute::Tensor(tensor.to_proto("")));
    }
}
