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
use crate::prune::handed_on::behind;
use crate::prune::names::Excluded;
use crate::prune::surgery::Plan;
use crate::prune::untouched::untouched;
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

impl Kind {
    fn is_convolution(&self) -> bool {
        matches!(self, Self::Conv { .. })
    }
}

/// A constant that is added to the channels of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Nothing is added, and nothing can be without a new node.
    None,
    /// An input of a node, with the constant there; `None` where the input is left out.
    Input { node: NodeIndex, slot: usize, constant: Option<String> },
}

/// Why there is nothing that a layer could be held against: the cut model has in its main graph what the original has in
/// the only branch that it ever takes.
pub const UNSEEN: &str = "the original computes it in a graph inside of a node, where it cannot be observed";

/// The layers of a graph in the order in which they run, and the weights that belong to none, with the reason.
pub fn find(graph: &Graph<'_>, inferred: &Inferred, plan: Option<&Plan>) -> (Vec<Layer>, Vec<Frozen>) {
    let (mut layers, mut others) = (Vec::new(), Vec::new());
    for (index, node) in graph.proto.node.iter().enumerate() {
        let contracted = |slot: &usize| crate::prune::importance::is_contracted(graph, index, *slot);
        let weight = |slot: usize| Weight::of(graph, node, slot);
        let Some(weight) = (0..node.input.len()).filter(contracted).find_map(weight) else { continue };
        match layer(graph, inferred, plan, index, &weight) {
            Ok(layer) => layers.push(layer),
            Err(reason) => {
                let what = weight.name.to_owned();
                others.push(Frozen { what, operator: Some(node.label()), reason });
            }
        }
    }
    (layers, others)
}

/// The layers that a rung can repair, and all other weights of the model.
pub fn repairable(graph: &Graph<'_>, inferred: &Inferred, plan: Option<&Plan>) -> (Vec<Layer>, Vec<Frozen>) {
    let (layers, mut others) = find(graph, inferred, plan);
    let is_known = |layer: &Layer| [&layer.input, &layer.target].iter().all(|name| inferred.dtype(name).is_some());
    let (layers, strange): (Vec<Layer>, Vec<Layer>) = layers.into_iter().partition(is_known);
    others.extend(strange.into_iter().map(|layer| Frozen {
        what: layer.weight,
        operator: Some(layer.label),
        reason: UNSEEN.to_owned(),
    }));
    let touched: Vec<&str> = layers.iter().map(|layer| layer.weight.as_str()).collect();
    others.extend(untouched(graph, &touched, &others, &Excluded::default()));
    (layers, others)
}

/// A constant of floats that an operator contracts, as it is or behind operators that hand it on.
struct Weight<'g> {
    slot: usize,
    name: &'g str,
    shape: Vec<usize>,
    trail: Vec<NodeIndex>,
}

impl<'g> Weight<'g> {
    fn of(graph: &Graph<'g>, node: &'g NodeProto, slot: usize) -> Option<Self> {
        let (name, trail) = behind(graph, node.input_name(slot)?)?;
        let tensor = graph.constant(name)?.ok().filter(|tensor| tensor.dtype.is_float())?;
        Some(Self { slot, name, shape: tensor.shape, trail })
    }

    /// Whether it is a matrix that is turned before it is used.
    ///
    /// Errors: what is between does more than turn a matrix.
    fn is_turned(&self, graph: &Graph<'_>) -> Result<bool, String> {
        let mut turned = false;
        for node in self.trail.iter().map(|index| graph.node(*index)) {
            turned ^= match (node.op_type(), self.shape.len()) {
                ("Identity", _) => false,
                ("Transpose", 2) => node.ints("perm").is_none_or(|perm| perm == [1, 0]),
                _ => return Err(format!("{} is between, and what it does is not undone here", node.label())),
            };
        }
        Ok(turned)
    }

    /// Whether something else reads it, or what it is handed on as.
    fn is_shared(&self, graph: &Graph<'_>) -> bool {
        let passed = self.trail.iter().flat_map(|index| &graph.node(*index).output).map(String::as_str);
        std::iter::once(self.name).chain(passed).any(|name| graph.uses(name).len() > 1)
    }
}

fn layer(
    graph: &Graph<'_>,
    inferred: &Inferred,
    plan: Option<&Plan>,
    index: NodeIndex,
    weight: &Weight<'_>,
) -> Result<Layer, String> {
    let node = graph.node(index);
    let shape = &weight.shape;
    let turned = weight.is_turned(graph)?;
    let dense = |transposed: bool| (Kind::Dense { transposed }, usize::from(!transposed));
    let (kind, output_axis) = match (node.op_type(), weight.slot, shape.len()) {
        ("Conv", 1, 3..) => (Kind::Conv { groups: node.int("group").unwrap_or(1).max(1) as usize }, 0),
        ("Gemm", 1, 2) if !is_plain(node) => return Err("its operator scales or transposes what it maps".into()),
        ("Gemm", 1, 2) => dense((node.int("transB").unwrap_or(0) != 0) ^ turned),
        ("MatMul", 1, 2) => dense(turned),
        _ => return Err("there is no closed form for its operator here".into()),
    };
    if weight.is_shared(graph) {
        return Err("several operators share it".into());
    }
    let input = node.input_name(0).ok_or("it maps nothing")?.to_owned();
    let output = node.output.first().ok_or("it has no output")?;
    let outputs = shape[output_axis];
    let cut = plan.and_then(|plan| plan.tensors.iter().find(|cut| cut.is_outside() && cut.becomes == weight.name));
    let kept = cut
        .and_then(|cut| cut.axes.iter().find(|cut| cut.axis == output_axis))
        .map(super::super::surgery::AxisCut::kept);
    let mut layer = Layer {
        node: index,
        label: node.label(),
        bias: own_bias(graph, index, outputs),
        kind,
        input,
        weight: weight.name.to_owned(),
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
                // Its channels lie on axis 1, which is that of a product only where there is none behind.
                "BatchNormalization" if self.kind.is_convolution() || inferred.rank(&self.target) == Some(2) => {
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
