//! The masked original: every removed index is set to nothing where it is consumed.
//!
//! Masks stand before each contraction. A reduction or softmax over an axis that loses indices is made to leave them out: a
//! mean divides by what is kept, a maximum does not see them; normalisations are written out as reductions
//! ([`super::normalised`]). Everything else works element by element, so that what a removed index holds before it is
//! consumed does not matter.

use std::collections::HashMap;

use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::coupling::{Axis, Part};
use crate::prune::surgery::Tailor;

/// The operator set from which `Where` is there. Below it masks multiply.
const OPSET_OF_WHERE: i64 = 9;

/// What stands for a removed element, so that what runs over its axis does not see it. The bounds are finite: they have to
/// survive multiplication, and no activation reaches them.
fn fill_of(op_type: &str) -> f32 {
    match op_type {
        "Hardmax" | "LogSoftmax" | "ReduceLogSumExp" | "ReduceMax" | "Softmax" => -3.0e38,
        "ReduceMin" => 3.0e38,
        "ReduceProd" => 1.0,
        _ => 0.0,
    }
}

/// The original with masks.
pub fn masked(model: &Model, tailor: &Tailor<'_>, inferred: &Inferred) -> Model {
    let graph = model.graph();
    let mut masks = Masks {
        tailor,
        inferred,
        opset: model.opset("").unwrap_or(1),
        listed: model.proto.ir_version() < 4,
        made: HashMap::new(),
        added: GraphProto::default(),
    };
    let mut nodes = Vec::with_capacity(graph.proto.node.len());
    for (index, node) in graph.proto.node.iter().enumerate() {
        if masks.normalise(index, node, &mut nodes).is_some() {
            continue;
        }
        let mut node = node.clone();
        let fill = fill_of(node.op_type());
        let mut slots = consumed(&graph, &node);
        // An axis of an open size has no mask; the other operand of the product has one that is as good.
        if is_product(&node) && slots.iter().any(|slot| masks.loses_in_the_open(index, *slot)) {
            slots = vec![0, 1];
        }
        for slot in slots {
            let masked = masks.mask(index, slot, &node, fill, &mut nodes);
            if let Some(name) = masked {
                node.input[slot] = name;
            }
        }
        let correction = masks.mean_correction(index, &mut node);
        nodes.push(node);
        nodes.extend(correction);
    }
    let mut reference = model.clone();
    let proto = reference.graph_proto_mut();
    proto.node = nodes;
    proto.value_info.clear();
    proto.initializer.extend(masks.added.initializer);
    proto.input.extend(masks.added.input);
    reference
}

/// The inputs of a node at which indices are summed away. Of a product of two constants one side is enough; what a recurrent
/// operator keeps of its hidden units is summed over with the recurrent weight.
fn consumed(graph: &Graph<'_>, node: &NodeProto) -> Vec<usize> {
    let fused = node.operator_domain() == "com.microsoft";
    if !node.operator_domain().is_empty() && !fused {
        return Vec::new();
    }
    let is_computed = |slot: &usize| node.input_name(*slot).is_some_and(|name| graph.constant(name).is_none());
    match node.op_type() {
        "Conv"
        | "ConvInteger"
        | "ConvTranspose"
        | "DynamicQuantizeLinear"
        | "FusedConv"
        | "Hardmax"
        | "LogSoftmax"
        | "LpNormalization"
        | "QGemm"
        | "QLinearConv"
        | "Softmax" => vec![0],
        // Quantized operands have a scale and a zero point behind them.
        "QLinearMatMul" => {
            let computed: Vec<usize> = [0, 3].into_iter().filter(is_computed).collect();
            if computed.is_empty() { vec![0] } else { computed }
        }
        "Attention" if fused => vec![0],
        "Einsum" | "FusedGemm" | "FusedMatMul" | "Gemm" | "MatMul" | "MatMulInteger" => {
            let operands = if node.is("Einsum") { node.input.len() } else { 2 };
            let computed: Vec<usize> = (0..operands).filter(is_computed).collect();
            if computed.is_empty() { vec![0] } else { computed }
        }
        "GRU" | "LSTM" | "RNN" => vec![0, 2],
        op_type if op_type.starts_with("Reduce") => vec![0],
        _ => Vec::new(),
    }
}

/// Whether a node sums over an axis that two operands have.
fn is_product(node: &NodeProto) -> bool {
    matches!(node.op_type(), "FusedGemm" | "FusedMatMul" | "Gemm" | "MatMul")
}

/// What stands at removed indices.
pub(super) enum Fill {
    Number(DataType, f32),
    /// A scalar of the graph.
    Value(String),
}

pub(super) struct Masks<'m> {
    pub(super) tailor: &'m Tailor<'m>,
    pub(super) inferred: &'m Inferred,
    pub(super) opset: i64,
    /// Whether initializers have to be listed among the inputs.
    listed: bool,
    /// Masked tensors by their position in the coupling and what fills them.
    made: HashMap<(usize, u32), String>,
    added: GraphProto,
}

impl Masks<'_> {
    /// The name of the input with all its removed indices filled; `None` where it loses none.
    fn mask(
        &mut self,
        index: NodeIndex,
        slot: usize,
        node: &NodeProto,
        fill: f32,
        nodes: &mut Vec<NodeProto>,
    ) -> Option<String> {
        let name = node.input_name(slot)?.to_owned();
        let kept = self.kept(index, slot)?;
        let key = (self.tailor.input_tensor(index, slot)?, fill.to_bits());
        if let Some(made) = self.made.get(&key) {
            return Some(made.clone());
        }
        let dtype = self.inferred.dtype(&name)?;
        let fill = self.fill(node, slot, dtype, fill)?;
        let masked = self.filled(&name, &format!("{name}_{slot}_{index}"), &kept, &fill, nodes)?;
        self.made.insert(key, masked.clone());
        Some(masked)
    }

    /// What stands for nothing in a type: of quantized numbers that is their zero point.
    fn fill(&mut self, node: &NodeProto, slot: usize, dtype: DataType, fill: f32) -> Option<Fill> {
        if dtype.is_float() {
            return Some(Fill::Number(dtype, fill));
        }
        if let Some(zero_point) = node.input_name(slot + 2) {
            return Some(Fill::Value(zero_point.to_owned()));
        }
        let zero = Tensor::from_bytes(dtype, &[], vec![0; dtype.bits() / 8].into()).ok()?;
        Some(Fill::Value(self.constant(&format!("{}_zero_{slot}", node.output.first()?), &zero)))
    }

    /// For each axis of an input the indices that stay, where it loses some; `None` where no axis does.
    pub(super) fn kept(&self, index: NodeIndex, slot: usize) -> Option<Vec<Option<Vec<bool>>>> {
        let loses = |axis| self.tailor.kept_of(axis).filter(|kept| kept.contains(&false));
        let kept: Vec<_> = self.tailor.input_layout(index, slot)?.iter().map(loses).collect();
        kept.iter().any(Option::is_some).then_some(kept)
    }

    /// Whether an input loses indices of an axis of which not all sizes are known.
    fn loses_in_the_open(&self, index: NodeIndex, slot: usize) -> bool {
        let loses = |part: &Part| {
            let alone = self.tailor.kept_of(&Axis { parts: vec![part.clone()] });
            alone.is_some_and(|kept| kept.contains(&false))
        };
        let in_the_open = |axis: &Axis| self.tailor.kept_of(axis).is_none() && axis.parts.iter().any(loses);
        self.tailor.input_layout(index, slot).is_some_and(|axes| axes.iter().any(in_the_open))
    }

    /// A value with the indices that do not stay filled, axis by axis; `None` where its type cannot be filled so.
    pub(super) fn filled(
        &mut self,
        name: &str,
        stem: &str,
        kept: &[Option<Vec<bool>>],
        fill: &Fill,
        nodes: &mut Vec<NodeProto>,
    ) -> Option<String> {
        let mut current = name.to_owned();
        for (axis, kept_here) in kept.iter().enumerate().filter_map(|(axis, of)| Some((axis, of.as_ref()?))) {
            let mut shape = vec![1; kept.len()];
            shape[axis] = kept_here.len();
            let masked = format!("{stem}_masked_{axis}");
            if self.opset >= OPSET_OF_WHERE {
                let data = kept_here.iter().map(|kept| u8::from(*kept)).collect();
                let mask = self.constant(&format!("{masked}_kept"), &Tensor { dtype: DataType::Bool, shape, data });
                let fill = match fill {
                    Fill::Number(dtype, fill) => {
                        self.constant(&format!("{masked}_fill"), &floats(*dtype, &[], &[*fill])?)
                    }
                    Fill::Value(name) => name.clone(),
                };
                nodes.push(plain("Where", &[&mask, &current, &fill], &masked));
            } else {
                let Fill::Number(dtype, fill) = *fill else { return None };
                let factors: Vec<f32> = kept_here.iter().map(|kept| f32::from(u8::from(*kept))).collect();
                let fills: Vec<f32> = kept_here.iter().map(|kept| if *kept { 0.0 } else { fill }).collect();
                let factors = self.constant(&format!("{masked}_kept"), &floats(dtype, &shape, &factors)?);
                let fills = self.constant(&format!("{masked}_fill"), &floats(dtype, &shape, &fills)?);
                nodes.push(plain("Mul", &[&current, &factors], &format!("{masked}_zeroed")));
                nodes.push(plain("Add", &[&format!("{masked}_zeroed"), &fills], &masked));
            }
            current = masked;
        }
        Some(current)
    }

    /// A mean over an axis that loses indices divides by all; this makes it divide by what is kept.
    fn mean_correction(&mut self, index: NodeIndex, node: &mut NodeProto) -> Option<NodeProto> {
        if !node.is("ReduceMean") {
            return None;
        }
        let layout = self.tailor.input_layout(index, 0)?;
        let original = self.tailor.original(index);
        let axes = match original.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => original.input_name(1).and_then(|name| self.inferred.value(name)?.known()).unwrap_or_default(),
        };
        let rank = layout.len() as i64;
        let is_reduced =
            |axis: usize| axes.is_empty() || axes.iter().any(|reduced| reduced.rem_euclid(rank) as usize == axis);
        let mut factor = 1.0;
        for (_, axis) in layout.iter().enumerate().filter(|(axis, _)| is_reduced(*axis)) {
            if let Some(kept) = self.tailor.kept_of(axis) {
                factor *= kept.len() as f64 / kept.iter().filter(|kept| **kept).count().max(1) as f64;
            }
        }
        if factor == 1.0 {
            return None;
        }
        let output = node.output.first()?.clone();
        let dtype = self.inferred.dtype(&output)?;
        let raw = format!("{output}_of_all");
        node.output[0].clone_from(&raw);
        let factor = self.constant(&format!("{output}_all_by_kept"), &floats(dtype, &[], &[factor as f32])?);
        Some(plain("Mul", &[&raw, &factor], &output))
    }

    pub(super) fn constant(&mut self, name: &str, tensor: &Tensor) -> String {
        self.added.initializer.push(tensor.to_proto(name));
        if self.listed {
            let shape: Vec<_> = tensor.shape.iter().map(|size| (*size).into()).collect();
            self.added.input.push(crate::onnx::builder::value_info(name, tensor.dtype, &shape));
        }
        name.to_owned()
    }
}

/// Numbers in a floating type; `None` for other types, whose values are never masked.
pub(super) fn floats(dtype: DataType, shape: &[usize], values: &[f32]) -> Option<Tensor> {
    Tensor { dtype, shape: Vec::new(), data: bytes::Bytes::new() }.with_f32(shape, values).ok()
}

pub(super) fn plain(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("{op_type}_{output}")),
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}
