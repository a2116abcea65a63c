//! Layers with one constant weight that can be factored, and what factors of some rank would take.
//!
//! A weight is seen as `[outputs, inputs, kernel]` whatever its operator; a matrix has a kernel of 1.

use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::proto::NodeProto;
use crate::onnx::tensor::{Tensor, TensorError};
use crate::spec::report::Frozen;

use super::super::handed_on::{behind, dtype_behind, own_axis};
use super::super::importance::{ImportanceError, is_contracted};
use super::super::names::Excluded;
use super::super::untouched::untouched;
use super::spectrum::{Keep, Spectrum, spectrum};

/// The longest side that is decomposed: its cube is the cost, a minute of one core.
const LARGEST: usize = 4096;

/// How an operator holds its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `x · W`, `W [inputs, outputs]`: MatMul, and Gemm without `transB`.
    Right,
    /// `x · Wᵀ`, `W [outputs, inputs]`: Gemm with `transB`.
    RightTransposed,
    /// `W · x`, `W [outputs, inputs]`: MatMul.
    Left,
    /// `W [outputs, inputs, kernel …]`.
    Convolution,
}

/// A layer with its decomposed weight.
#[derive(Clone, Debug)]
pub struct Layer<'g> {
    pub node: NodeIndex,
    pub slot: usize,
    pub weight: &'g str,
    pub form: Form,
    /// Type and shape of the weight where the operator takes it, which may be behind a Transpose or a Cast.
    pub tensor: Tensor,
    /// `[outputs, inputs, kernel]`, row-major.
    pub values: Vec<f32>,
    pub outputs: usize,
    pub inputs: usize,
    pub kernel: usize,
    /// Directions of the outputs; of a matrix that has fewer inputs only those of the inputs are known.
    pub of_outputs: Option<Spectrum>,
    pub of_inputs: Option<Spectrum>,
}

/// Which axes of a weight are projected onto fewer directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factors {
    /// A matrix as a product of two.
    Matrix { rank: usize },
    /// A kernel between two 1 × 1 convolutions (Tucker-2).
    Both { outputs: usize, inputs: usize },
    /// A kernel with fewer outputs, before a 1 × 1 convolution.
    Outputs { rank: usize },
    /// A kernel with fewer inputs, behind a 1 × 1 convolution.
    Inputs { rank: usize },
}

impl Layer<'_> {
    /// Elements of the weight.
    pub fn parameters(&self) -> usize {
        self.outputs * self.inputs * self.kernel
    }

    /// Elements of the factors.
    pub fn parameters_of(&self, factors: Factors) -> usize {
        let (o, i, k) = (self.outputs, self.inputs, self.kernel);
        match factors {
            Factors::Matrix { rank } => rank * (o + i),
            Factors::Both { outputs, inputs } => inputs * i + outputs * inputs * k + o * outputs,
            Factors::Outputs { rank } => rank * i * k + o * rank,
            Factors::Inputs { rank } => rank * i + o * rank * k,
        }
    }

    /// The smallest factors that keep what is to be kept.
    pub fn factors(&self, keep: Keep) -> Factors {
        let rank = |spectrum: &Spectrum| keep.rank(&spectrum.energies);
        match (self.of_outputs.as_ref().map(rank), self.of_inputs.as_ref().map(rank)) {
            (Some(outputs), Some(inputs)) => {
                let ways = [
                    Factors::Both { outputs, inputs },
                    Factors::Outputs { rank: outputs },
                    Factors::Inputs { rank: inputs },
                ];
                ways.into_iter().min_by_key(|way| self.parameters_of(*way)).unwrap_or(ways[0])
            }
            (one, other) => Factors::Matrix { rank: one.or(other).unwrap_or(1) },
        }
    }
}

/// The layers whose weights were decomposed, and the weights that were not. A weight is found behind operators that hand
/// it on and keep its axes apart.
///
/// Errors: a weight that cannot be read or is not a number.
pub fn layers<'g>(graph: &Graph<'g>, exclude: &Excluded) -> Result<(Vec<Layer<'g>>, Vec<Frozen>), ImportanceError> {
    let (mut layers, mut frozen): (Vec<Layer<'g>>, _) = (Vec::new(), Vec::new());
    for (index, node) in graph.proto.node.iter().enumerate() {
        for slot in (0..node.input.len()).filter(|slot| is_contracted(graph, index, *slot)) {
            let Some((weight, trail)) = behind(graph, &node.input[slot]) else { continue };
            let Some(tensor) = graph.constant(weight) else { continue };
            let unreadable = |source: TensorError| ImportanceError::Weight { tensor: weight.to_owned(), source };
            let tensor = tensor.map_err(unreadable)?;
            if !tensor.dtype.is_float() {
                continue;
            }
            let passed = trail.iter().flat_map(|passed| &graph.node(*passed).output);
            let names = std::iter::once(weight).chain(passed.chain(&node.output).map(String::as_str));
            let refused = if exclude.has_node(node) || names.into_iter().any(|name| exclude.has_initializer(name)) {
                Err("it is excluded".to_owned())
            } else {
                let axes = axes(graph, &trail, &tensor);
                axes.and_then(|axes| Ok((form(graph, node, slot, (weight, &trail), &tensor)?, axes)))
            };
            let layer = match refused {
                Ok((form, axes)) => {
                    let values = tensor.to_f32().map_err(unreadable)?;
                    if values.iter().any(|value| !value.is_finite()) {
                        return Err(ImportanceError::NotANumber { tensor: weight.to_owned() });
                    }
                    let (shape, values) = permuted(&values, &tensor.shape, &axes);
                    let dtype = dtype_behind(graph, &trail, tensor.dtype).filter(|dtype| dtype.is_float());
                    let taken = Tensor { dtype: dtype.unwrap_or(tensor.dtype), ..tensor }.with_f32(&shape, &values);
                    decomposed(index, slot, weight, form, taken.map_err(unreadable)?, &values)
                }
                Err(reason) => Err(reason),
            };
            match layer {
                Ok(layer) => layers.push(layer),
                Err(reason) => {
                    frozen.push(Frozen { what: weight.to_owned(), operator: Some(node.label()), reason });
                }
            }
        }
    }
    let touched: Vec<&str> = layers.iter().map(|layer| layer.weight).collect();
    frozen.extend(untouched(graph, &touched, &frozen, exclude));
    Ok((layers, frozen))
}

/// By axis of the weight where it is used: the axis of the constant.
///
/// Errors: the operator that regroups them.
fn axes(graph: &Graph<'_>, trail: &[NodeIndex], tensor: &Tensor) -> Result<Vec<usize>, String> {
    let rank = tensor.shape.len();
    (0..rank).map(|axis| own_axis(graph, trail, axis, rank)).collect()
}

/// How the operator holds the weight.
///
/// Errors: why it cannot be factored.
fn form(
    graph: &Graph<'_>,
    node: &NodeProto,
    slot: usize,
    (weight, trail): (&str, &[NodeIndex]),
    tensor: &Tensor,
) -> Result<Form, String> {
    let passed = trail.iter().flat_map(|passed| &graph.node(*passed).output).map(String::as_str);
    for name in std::iter::once(weight).chain(passed) {
        if let [first, second, ..] = graph.uses(name) {
            let other = if graph.node(first.node) == node { second } else { first };
            return Err(format!("it is shared with {}", graph.node(other.node).label()));
        }
    }
    let rank = tensor.shape.len();
    match node.op_type() {
        "Conv" if node.int("group").unwrap_or(1) != 1 => Err("its convolution has groups".into()),
        "Conv" if rank >= 3 => Ok(Form::Convolution),
        "Gemm" | "MatMul" if rank != 2 => Err(format!("it has {rank} axes, not 2")),
        "Gemm" if node.int("transA").unwrap_or(0) != 0 => Err("the other operand is transposed".into()),
        "Gemm" if node.int("transB").unwrap_or(0) != 0 => Ok(Form::RightTransposed),
        "MatMul" if slot == 0 => Ok(Form::Left),
        "Gemm" | "MatMul" => Ok(Form::Right),
        other => Err(format!("weights of {other} are not factored")),
    }
}

fn decomposed<'g>(
    node: NodeIndex,
    slot: usize,
    weight: &'g str,
    form: Form,
    tensor: Tensor,
    values: &[f32],
) -> Result<Layer<'g>, String> {
    let (first, second) = (tensor.shape[0], tensor.shape[1]);
    let kernel: usize = tensor.shape[2..].iter().product();
    let (outputs, inputs) = if form == Form::Right { (second, first) } else { (first, second) };
    if outputs == 0 || inputs == 0 || kernel == 0 {
        return Err("it is empty".into());
    }
    let values = if form == Form::Right { swapped(values, first, second, 1) } else { values.to_vec() };
    let longest = if kernel == 1 { outputs.min(inputs) } else { outputs.max(inputs) };
    if longest > LARGEST {
        return Err(format!("a side of {longest} is more than is decomposed ({LARGEST})"));
    }
    let turned = || swapped(&values, outputs, inputs, kernel);
    let diverged = || "its singular values do not converge".to_owned();
    let of_outputs =
        if kernel > 1 || outputs <= inputs { Some(spectrum(&values, outputs).ok_or_else(diverged)?) } else { None };
    let of_inputs =
        if kernel > 1 || outputs > inputs { Some(spectrum(&turned(), inputs).ok_or_else(diverged)?) } else { None };
    Ok(Layer { node, slot, weight, form, tensor, values, outputs, inputs, kernel, of_outputs, of_inputs })
}

/// `[a, b, k]` as `[b, a, k]`.
pub fn swapped(values: &[f32], a: usize, b: usize, k: usize) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    for second in 0..b {
        for first in 0..a {
            let at = (first * b + second) * k;
            turned.extend_from_slice(&values[at..at + k]);
        }
    }
    turned
}

/// Shape and elements with axes in another order: axis `n` of the result is `axes[n]` of what there was.
fn permuted(values: &[f32], shape: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<f32>) {
    let turned: Vec<usize> = axes.iter().map(|axis| shape[*axis]).collect();
    if axes.is_sorted() {
        return (turned, values.to_vec());
    }
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let strides: Vec<usize> = axes.iter().map(|axis| stride(*axis)).collect();
    let mut at = vec![0; axes.len()];
    let mut elements = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        elements.push(values[at.iter().zip(&strides).map(|(at, stride)| at * stride).sum::<usize>()]);
        for axis in (0..at.len()).rev() {
            at[axis] += 1;
            if at[axis] < turned[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    (turned, elements)
}
