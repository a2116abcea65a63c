//! The layers of a cut model that can be repaired: linear maps with constant weights, where their outputs are held against
//! the original's, and where a constant can be added to them.
//!
//! What a layer gives is held against the original behind everything that is linear and can make up for it: behind its
//! bias, behind a BatchNormalization, and behind the sum of a residual block where the other side of the sum has been
//! computed before, so that the layer also makes up for what the shortcut has lost.

use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::surgery::Plan;
use crate::spec::report::Frozen;

/// A linear map in the cut model.
#[derive(Clone, Debug)]
pub struct Layer {
    pub node: NodeIndex,
    /// Operator and name.
    pub label: String,
    pub kind: Kind,
    /// The value that it maps.
    pub input: String,
    /// The constant that holds its weights, read by nothing else.
    pub weight: String,
    /// Where a constant can be added to each channel of the target.
    pub bias: Bias,
    /// The value that is held against the original's of the same name.
    pub target: String,
    /// What the target is multiplied by behind the map, a number a channel; `None` is one.
    pub scale: Option<Vec<f64>>,
    /// The original's channels that the target has, ascending; `None` is all of them.
    pub kept: Option<Vec<u32>>,
}

/// How weights and channels lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weight `[c_out, c_in ÷ groups, kernel…]`, channels on axis 1.
    Conv { groups: usize },
    /// Weight `[inputs, outputs]`, or the other way round; channels on the last axis.
    Dense { transposed: bool },
}

/// A constant that is added to the channels of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Nothing is added, and nothing can be without a new node.
    None,
    /// An input of a node, with the constant there; `None` where the input is left out.
    Input { node: NodeIndex, slot: usize, constant: Option<String> },
}

/// The layers of a graph in the order in which they run, and the weights that belong to none, with the reason.
pub fn find(graph: &Graph<'_>, inferred: &Inferred, plan: Option<&Plan>) -> (Vec<Layer>, Vec<Frozen>) {
    let (mut layers, mut others) = (Vec::new(), Vec::new());
    for (index, node) in graph.proto.node.iter().enumerate() {
        let weighted = |slot: &usize| {
            let constant = node.input_name(*slot).and_then(|name| graph.constant(name)).and_then(Result::ok);
            constant.is_some_and(|tensor| tensor.dtype.is_float())
        };
        let contracted = |slot: &usize| crate::prune::importance::is_contracted(graph, index, *slot);
        let Some(slot) = (0..node.input.len()).filter(contracted).find(weighted) else { continue };
        match layer(graph, inferred, plan, index, slot) {
            Ok(layer) => layers.push(layer),
            Err(reason) => {
                let what = node.input[slot].clone();
                others.push(Frozen { what, operator: Some(node.label()), reason: reason.to_owned() });
            }
        }
    }
    (layers, others)
}

fn layer(
    graph: &Graph<'_>,
    inferred: &Inferred,
    plan: Option<&Plan>,
    index: NodeIndex,
    slot: usize,
) -> Result<Layer, &'static str> {
    let node = graph.node(index);
    let weight = &node.input[slot];
    let shape = graph.constant(weight).and_then(Result::ok).map(|tensor| tensor.shape).unwrap_or_default();
    let (kind, output_axis) = match (node.op_type(), slot, shape.len()) {
        ("Conv", 1, 3..) => (Kind::Conv { groups: node.int("group").unwrap_or(1).max(1) as usize }, 0),
        ("Gemm", 1, 2) if !is_plain(node) => return Err("its operator scales or transposes what it maps"),
        ("Gemm", 1, 2) => {
            let transposed = node.int("transB").unwrap_or(0) != 0;
            (Kind::Dense { transposed }, usize::from(!transposed))
        }
        ("MatMul", 1, 2) => (Kind::Dense { transposed: false }, 1),
        _ => return Err("there is no closed form for its operator here"),
    };
    if graph.uses(weight).len() > 1 {
        return Err("several operators share it");
    }
    let input = node.input_name(0).ok_or("it maps nothing")?.to_owned();
    let output = node.output.first().ok_or("it has no output")?;
    let outputs = shape[output_axis];
    let cut = plan.and_then(|plan| plan.tensors.iter().find(|cut| cut.becomes == *weight));
    let kept = cut
        .and_then(|cut| cut.axes.iter().find(|cut| cut.axis == output_axis))
        .map(super::super::surgery::AxisCut::kept);
    let mut layer = Layer {
        node: index,
        label: node.label(),
        bias: own_bias(graph, index, outputs),
        kind,
        input,
        weight: weight.clone(),
        target: output.clone(),
        scale: None,
        kept,
    };
    layer.follow(graph, inferred, outputs);
    Ok(layer)
}

/// Whether a Gemm adds and multiplies as it stands.
fn is_plain(node: &NodeProto) -> bool {
    node.float("alpha").unwrap_or(1.0) == 1.0
        && node.float("beta").unwrap_or(1.0) == 1.0
        && node.int("transA").unwrap_or(0) == 0
}

/// The bias input of the operator itself.
fn own_bias(graph: &Graph<'_>, index: NodeIndex, outputs: usize) -> Bias {
    let node = graph.node(index);
    if node.op_type() == "MatMul" {
        return Bias::None;
    }
    match node.input_name(2) {
        None => Bias::Input { node: index, slot: 2, constant: None },
        Some(name) if floats(graph, name).is_some_and(|bias| bias.len() == outputs) => {
            Bias::Input { node: index, slot: 2, constant: Some(name.to_owned()) }
        }
        Some(_) => Bias::None,
    }
}

impl Layer {
    /// Moves the target behind what is linear.
    fn follow(&mut self, graph: &Graph<'_>, inferred: &Inferred, outputs: usize) {
        if let Some((index, node)) = only_user(graph, &self.target) {
            match node.op_type() {
                "Add" if self.bias == Bias::None => self.follow_bias(graph, inferred, index, outputs),
                "BatchNormalization" if self.kind != (Kind::Dense { transposed: false }) => {
                    self.follow_normalization(graph, index, outputs);
                }
                _ => {}
            }
        }
        let Some((_, node)) = only_user(graph, &self.target) else { return };
        let other = node.input.iter().find(|name| **name != self.target);
        if let ("Add" | "Sum", 2, Some(other)) = (node.op_type(), node.input.len(), other)
            && graph.constant(other).is_none()
            && graph.producer(other).is_none_or(|(producer, _)| producer < self.node)
            && inferred.dims(other).is_some_and(|dims| Some(dims) == inferred.dims(&self.target))
        {
            self.target.clone_from(&node.output[0]);
        }
    }

    /// A constant that is added to each channel behind a product without a bias.
    fn follow_bias(&mut self, graph: &Graph<'_>, inferred: &Inferred, index: NodeIndex, outputs: usize) {
        let node = graph.node(index);
        let Some(slot) = node.input.iter().position(|name| *name != self.target) else { return };
        let name = &node.input[slot];
        let rank = inferred.rank(&self.target).unwrap_or(0);
        let fits =
            |bias: Tensor| bias.len() == outputs && bias.shape.last() == Some(&outputs) && bias.shape.len() <= rank;
        if floats(graph, name).is_some_and(fits) {
            self.bias = Bias::Input { node: index, slot, constant: Some(name.clone()) };
            self.target.clone_from(&node.output[0]);
        }
    }

    /// A normalisation with constants: it scales each channel and has a bias of its own.
    fn follow_normalization(&mut self, graph: &Graph<'_>, index: NodeIndex, outputs: usize) {
        let node = graph.node(index);
        let trains = node.int("training_mode").unwrap_or(0) != 0;
        let constant = |slot: usize| {
            let values = floats(graph, node.input_name(slot)?)?.to_f32().ok()?.into_owned();
            (values.len() == outputs).then_some(values)
        };
        let (Some(gamma), Some(_), Some(variance), false) = (constant(1), constant(2), constant(4), trains) else {
            return;
        };
        let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
        let scale = |(gamma, variance): (&f32, &f32)| f64::from(*gamma) / (f64::from(*variance) + epsilon).sqrt();
        self.scale = Some(gamma.iter().zip(&variance).map(scale).collect());
        self.bias = Bias::Input { node: index, slot: 2, constant: node.input_name(2).map(str::to_owned) };
        self.target.clone_from(&node.output[0]);
    }

    /// What a channel of the target is multiplied by behind the map; `None` where its normalisation has switched it off,
    /// so that no weight brings it back.
    pub fn gain(&self, channel: usize) -> Option<f64> {
        const LEAST: f64 = 1e-6;
        let gain = self.scale.as_ref().map_or(1.0, |scale| scale[channel]);
        (gain.abs() >= LEAST).then_some(gain)
    }

    /// The axis of the target's channels.
    pub fn channel_axis(&self, rank: usize) -> usize {
        match self.kind {
            Kind::Conv { .. } => 1,
            Kind::Dense { .. } => rank.saturating_sub(1),
        }
    }
}

/// The node that alone reads a value; `None` where several do, or it is an output of the model.
fn only_user<'g>(graph: &Graph<'g>, value: &str) -> Option<(NodeIndex, &'g NodeProto)> {
    let [only] = graph.uses(value) else { return None };
    only.slot?;
    let node = graph.node(only.node);
    (!graph.is_output(value) && node.operator_domain().is_empty()).then_some((only.node, node))
}

fn floats(graph: &Graph<'_>, name: &str) -> Option<Tensor> {
    graph.constant(name)?.ok().filter(|tensor| tensor.dtype.is_float())
}
