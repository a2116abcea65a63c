//! Layers replaced by their factors: the nodes and weights that stand for one node and one weight.
//!
//! The last factor keeps the node's name, output and bias; what a convolution does to positions stays with the factor that
//! has the kernel, or with the first where the kernel is 1.

use std::collections::HashSet;

use faer::{Mat, MatRef};

use crate::onnx::builder::{Size, value_info};
use crate::onnx::graph::Graph;
use crate::onnx::model::Model;
use crate::onnx::patch::{Change, PatchError, apply};
use crate::onnx::proto::NodeProto;
use crate::onnx::tensor::{Tensor, TensorError};

use super::layer::{Factors, Form, Layer, swapped};

/// The IR version from which initializers need not be listed among the inputs.
const IR_WITH_FREE_INITIALIZERS: i64 = 4;

/// Attributes of a convolution that say where its kernel looks.
const POSITIONS: [&str; 5] = ["auto_pad", "dilations", "kernel_shape", "pads", "strides"];

/// Factors of one weight, in the order in which they are applied.
struct Chain {
    /// Elements and number of outputs and inputs of each, `[outputs, inputs, kernel]`.
    parts: Vec<(Vec<f32>, usize, usize)>,
    /// The part with the kernel.
    main: usize,
    /// Share of the weight's squared norm that is left.
    energy: f64,
}

/// A model whose layers were replaced, with the energy that each kept.
#[derive(Clone, Debug)]
pub struct Replaced {
    pub model: Model,
    pub energies: Vec<f64>,
}

/// Why layers cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    #[error(transparent)]
    Patch(#[from] PatchError),
    #[error("the factors of `{tensor}` cannot be written: {source}")]
    Tensor { tensor: String, source: TensorError },
}

/// Replaces layers by factors.
///
/// Errors: the result is not sound, which would be a mistake in making it.
pub fn replace(model: &Model, graph: &Graph<'_>, layers: &[(&Layer<'_>, Factors)]) -> Result<Replaced, ReplaceError> {
    let mut names = Names::new(graph);
    let (mut changes, mut added, mut energies) = (Vec::new(), Vec::new(), Vec::new());
    for (layer, factors) in layers {
        let chain = chain(layer, *factors);
        energies.push(chain.energy);
        let node = graph.node(layer.node);
        changes.push(Change::RemoveNode { node: node.output[0].clone() });
        let other = usize::from(layer.slot == 0);
        let mut x = node.input[if layer.form == Form::Convolution { 0 } else { other }].clone();
        let last = chain.parts.len() - 1;
        for (at, (values, outputs, inputs)) in chain.parts.iter().enumerate() {
            let weight = names.free(&format!("{}_factor{}", layer.weight, at + 1));
            let tensor = tensor(layer, values, *outputs, *inputs, at == last)
                .map_err(|source| ReplaceError::Tensor { tensor: layer.weight.to_owned(), source })?;
            added.push((weight.clone(), tensor.clone()));
            changes.push(Change::AddInitializer { name: weight.clone(), tensor });
            let mut part = if layer.form == Form::Convolution || at == last {
                node.clone()
            } else {
                // A plain product: scales and biases of a Gemm belong to the last factor.
                NodeProto { op_type: Some("MatMul".into()), attribute: Vec::new(), ..node.clone() }
            };
            if layer.form == Form::Convolution && at != chain.main {
                part.attribute.retain(|attribute| !POSITIONS.contains(&attribute.name()));
            }
            if at != last {
                part.input.truncate(2);
                part.output = vec![names.free(&format!("{}_factor{}", node.output[0], at + 1))];
                part.name = node.name.as_ref().map(|name| format!("{name}_factor{}", at + 1));
            }
            let (x_slot, weight_slot) = if layer.form == Form::Left { (1, 0) } else { (0, 1) };
            part.input[x_slot].clone_from(&x);
            part.input[weight_slot] = weight;
            x.clone_from(&part.output[0]);
            changes.push(Change::InsertNode { node: part });
        }
    }
    let mut model = apply(model, &changes)?.model;
    if model.proto.ir_version.unwrap_or(IR_WITH_FREE_INITIALIZERS) < IR_WITH_FREE_INITIALIZERS {
        for (name, tensor) in added {
            let shape: Vec<Size> = tensor.shape.iter().map(|size| Size::Fixed(*size)).collect();
            model.graph_proto_mut().input.push(value_info(&name, tensor.dtype, &shape));
        }
    }
    Ok(Replaced { model, energies })
}

/// A factor as its operator holds it. Convolutions other than the one with the kernel are 1 × 1.
fn tensor(layer: &Layer<'_>, values: &[f32], outputs: usize, inputs: usize, last: bool) -> Result<Tensor, TensorError> {
    match layer.form {
        Form::Convolution => {
            let kernel = &layer.tensor.shape[2..];
            let points = values.len() / (outputs * inputs).max(1);
            let ones = vec![1; kernel.len()];
            let kernel = if points == 1 { &ones } else { kernel };
            layer.tensor.with_f32(&[&[outputs, inputs], kernel].concat(), values)
        }
        Form::Left => layer.tensor.with_f32(&[outputs, inputs], values),
        Form::RightTransposed if last => layer.tensor.with_f32(&[outputs, inputs], values),
        Form::Right | Form::RightTransposed => {
            layer.tensor.with_f32(&[inputs, outputs], &swapped(values, outputs, inputs, 1))
        }
    }
}

/// Projects a weight onto the directions that are kept; projections are orthogonal, so that no other choice with the same
/// directions is nearer to the weight.
///
/// Source: truncated SVD (Eckart and Young, 1936); Tucker-2 by truncated HOSVD as in Kim et al., ICLR 2016, §3.1.
fn chain(layer: &Layer<'_>, factors: Factors) -> Chain {
    let (o, i, k) = (layer.outputs, layer.inputs, layer.kernel);
    let basis = |spectrum: &Option<super::spectrum::Spectrum>, rank: usize| {
        spectrum.as_ref().map_or_else(|| Mat::zeros(0, 0), |found| found.basis.subcols(0, rank).to_owned())
    };
    // The two 1 × 1 ends: from fewer directions to all outputs, and from all inputs to fewer directions.
    let spread = |u: &Mat<f64>| (elements(u.as_ref()), o, u.ncols());
    let gather = |v: &Mat<f64>| (elements(v.transpose()), v.ncols(), i);
    let (core, parts, main) = match factors {
        Factors::Matrix { rank } if layer.of_outputs.is_some() => {
            let u = basis(&layer.of_outputs, rank);
            let core = project(&layer.values, o, &u);
            (core.clone(), vec![(core, rank, i), spread(&u)], 0)
        }
        Factors::Matrix { rank } => {
            let v = basis(&layer.of_inputs, rank);
            let core = swapped(&project(&swapped(&layer.values, o, i, 1), i, &v), rank, o, 1);
            (core.clone(), vec![gather(&v), (core, o, rank)], 0)
        }
        Factors::Both { outputs, inputs } => {
            let (u, v) = (basis(&layer.of_outputs, outputs), basis(&layer.of_inputs, inputs));
            let core = project(&layer.values, o, &u);
            let core = swapped(&project(&swapped(&core, outputs, i, k), i, &v), inputs, outputs, k);
            (core.clone(), vec![gather(&v), (core, outputs, inputs), spread(&u)], 1)
        }
        Factors::Outputs { rank } => {
            let u = basis(&layer.of_outputs, rank);
            let core = project(&layer.values, o, &u);
            (core.clone(), vec![(core, rank, i), spread(&u)], 0)
        }
        Factors::Inputs { rank } => {
            let v = basis(&layer.of_inputs, rank);
            let core = swapped(&project(&swapped(&layer.values, o, i, k), i, &v), rank, o, k);
            (core.clone(), vec![gather(&v), (core, o, rank)], 1)
        }
    };
    let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    let whole = norm(&layer.values);
    let energy = if whole > 0.0 { norm(&core) / whole } else { 1.0 };
    Chain { parts, main, energy }
}

/// `basisᵀ · matrix`, the matrix row-major with the basis's number of rows.
fn project(matrix: &[f32], rows: usize, basis: &Mat<f64>) -> Vec<f32> {
    let columns = matrix.len() / rows.max(1);
    let matrix = Mat::from_fn(rows, columns, |row, column| f64::from(matrix[row * columns + column]));
    elements((basis.transpose() * &matrix).as_ref())
}

fn elements(matrix: MatRef<'_, f64>) -> Vec<f32> {
    (0..matrix.nrows()).flat_map(|row| (0..matrix.ncols()).map(move |column| matrix[(row, column)] as f32)).collect()
}

/// Names that nothing in the graph has.
struct Names {
    taken: HashSet<String>,
}

impl Names {
    fn new(graph: &Graph<'_>) -> Self {
        let initializers = graph.proto.initializer.iter().map(|tensor| tensor.name().to_owned());
        let inputs = graph.proto.input.iter().map(|info| info.name().to_owned());
        let values = graph.proto.node.iter().flat_map(|node| node.output.iter().cloned());
        Self { taken: initializers.chain(inputs).chain(values).collect() }
    }

    fn free(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}
