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

use super::masks::{Fill, Kept, floats, plain};

/// The operator set from which sums take their axes as an input.
const OPSET_OF_AXES_OF_SUMS: i64 = 13;

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
        // An axis with open sizes in two places has no mask; the other operand of the product has one that is as good.
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

pub(super) struct Masks<'m> {
    pub(super) tailor: &'m Tailor<'m>,
    pub(super) inferred: &'m Inferred,
    pub(super) opset: i64,
    /// Whether initializers have to be listed among the inputs.
    pub(super) listed: bool,
    /// Masked tensors by their position in the coupling and what fills them.
    made: HashMap<(usize, u32), String>,
    pub(super) added: GraphProto,
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
        let mut kept = self.kept(index, slot)?;
        let reduces = node.op_type().starts_with("Reduce");
        if reduces {
            let rank = kept.len();
            let reduced = self.reduced(index, rank);
            kept.iter_mut().zip(reduced).filter(|(_, reduced)| !reduced).for_each(|(kept, _)| *kept = None);
        }
        let key = (self.tailor.input_tensor(index, slot)?, fill.to_bits());
        if let Some(made) = self.made.get(&key).filter(|_| !reduces) {
            return Some(made.clone());
        }
        let dtype = self.inferred.dtype(&name)?;
        let fill = self.fill(node, slot, dtype, fill)?;
        let masked = self.filled(&name, &format!("{name}_{slot}_{index}"), &kept, &fill, nodes)?;
        if !reduces {
            self.made.insert(key, masked.clone());
        }
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
    pub(super) fn kept(&self, index: NodeIndex, slot: usize) -> Option<Vec<Option<Kept>>> {
        let loses = |axis| Kept::of(self.tailor, axis).filter(|kept| kept.flags.contains(&false));
        let kept: Vec<_> = self.tailor.input_layout(index, slot)?.iter().map(loses).collect();
        kept.iter().any(Option::is_some).then_some(kept)
    }

    /// Of each axis of a reduction whether it runs over it.
    fn reduced(&self, index: NodeIndex, rank: usize) -> Vec<bool> {
        let node = self.tailor.original(index);
        let axes = match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => node.input_name(1).and_then(|name| self.inferred.value(name)?.known()).unwrap_or_default(),
        };
        let runs = |axis| axes.is_empty() || axes.iter().any(|reduced| reduced.rem_euclid(rank as i64) == axis);
        (0..rank as i64).map(runs).collect()
    }

    /// Whether an input loses indices of an axis of which too little is known for a mask.
    fn loses_in_the_open(&self, index: NodeIndex, slot: usize) -> bool {
        let loses = |part: &Part| {
            let alone = self.tailor.kept_of(&Axis { parts: vec![part.clone()] });
            alone.is_some_and(|kept| kept.contains(&false))
        };
        let in_the_open = |axis: &Axis| Kept::of(self.tailor, axis).is_none() && axis.parts.iter().any(loses);
        self.tailor.input_layout(index, slot).is_some_and(|axes| axes.iter().any(in_the_open))
    }

    /// A mean over an axis that loses indices divides by all; this makes it divide by what is kept. Where that number is
    /// known, it is a sum divided by it: of a single index that stays the mean is that index, to the last bit.
    fn mean_correction(&mut self, index: NodeIndex, node: &mut NodeProto) -> Option<NodeProto> {
        if !node.is("ReduceMean") {
            return None;
        }
        let layout = self.tailor.input_layout(index, 0)?;
        let reduced = self.reduced(index, layout.len());
        let over: Vec<usize> = (0..layout.len()).filter(|axis| reduced[*axis]).collect();
        let factor: f64 = over
            .iter()
            .filter_map(|axis| Kept::of(self.tailor, &layout[*axis]))
            .map(|kept| kept.all_by_kept())
            .product();
        if factor == 1.0 {
            return None;
        }
        let output = node.output.first()?.clone();
        let dtype = self.inferred.dtype(&output)?;
        let raw = format!("{output}_of_all");
        node.output[0].clone_from(&raw);
        let factor = match self.count(index, over.iter().copied()) {
            Some(count) => {
                self.make_sum(node);
                1.0 / count as f64
            }
            None => factor,
        };
        let factor = self.constant(&format!("{output}_all_by_kept"), &floats(dtype, &[], &[factor as f32])?);
        Some(plain("Mul", &[&raw, &factor], &output))
    }

    /// How many elements of axes of a node's first input stay; `None` where sizes are open.
    pub(super) fn count(&self, index: NodeIndex, mut axes: impl Iterator<Item = usize>) -> Option<usize> {
        let layout = self.tailor.input_layout(index, 0)?;
        axes.try_fold(1, |count, axis| Some(count * Kept::of(self.tailor, layout.get(axis)?)?.count()?))
    }

    /// Makes a sum of a mean over the same axes, which sums take as an input from an earlier operator set on.
    pub(super) fn make_sum(&mut self, node: &mut NodeProto) {
        node.op_type = Some("ReduceSum".to_owned());
        if self.opset >= OPSET_OF_AXES_OF_SUMS
            && let Some(axes) = node.ints("axes").map(<[i64]>::to_vec)
        {
            node.attribute.retain(|attribute| attribute.name() != "axes");
            let name = format!("{}_axes", node.output[0]);
            node.input.push(self.constant(&name, &Tensor::from_i64(&[axes.len()], &axes)));
        }
    }
}
