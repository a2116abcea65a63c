//! The forward half of a training graph: the model's nodes at fixed input shapes, as they compute while training or as they
//! infer.
//!
//! - What describes shapes is computed here and becomes a constant, so that rules find numbers instead of chains of nodes.
//! - While training, `BatchNormalization` normalises by the batch's own statistics and tells them.
//! - `Dropout` passes everything on: exporters write models as they compute after training, and what the rate was is lost.
//! - `MaxPool` tells which elements it took.
//!
//! The model must have been raised to one operator set ([`crate::onnx::raise`]), which has every operator that rules emit.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::emit::{Emitter, Value};
use super::parameters::behind;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, outer_names};
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use crate::onnx::raise::TRAINING_OPSET;
use crate::onnx::shape::{Inferred, ShapeValue, infer_with};
use crate::onnx::tensor::Tensor;

/// What normalisations and the like compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Training,
    /// As the model was exported.
    Inference,
}

/// A model at fixed shapes, being turned into a training graph.
#[derive(Debug)]
pub struct Forward {
    mode: Mode,
    /// The model without its graph: operator sets, functions, metadata.
    frame: ModelProto,
    /// Declarations of the inputs that are fed.
    inputs: Vec<ValueInfoProto>,
    /// Weights that became inputs.
    freed: Vec<Value>,
    pub emit: Emitter,
    /// Nodes of the forward half: the first so many of the emitter's.
    pub forward_nodes: usize,
    values: HashMap<String, Value>,
    pub constants: HashMap<String, Tensor>,
    /// `BatchNormalization` nodes in training mode.
    pub normalizations: Vec<Normalization>,
    /// Remarks for the report.
    pub findings: Vec<String>,
}

/// A normalisation by the batch's statistics.
#[derive(Clone, Debug)]
pub struct Normalization {
    /// Names of the model's running mean and variance.
    pub running: [String; 2],
    /// Mean and (biased) variance of the batch.
    pub batch: [Value; 2],
    /// Share of the running value that stays in a step: ONNX's `momentum`, which is 1 − PyTorch's.
    pub momentum: f32,
    /// Elements that each mean is taken over.
    pub count: usize,
}

impl Forward {
    /// Prepares a model with the given input shapes.
    pub fn new(model: &Model, shapes: &BTreeMap<String, Vec<i64>>, mode: Mode) -> Self {
        let inferred = infer_with(model, shapes);
        let graph = model.graph();
        let mut frame = model.proto.clone();
        frame.graph = None;
        let mut names: HashSet<String> = inferred.values().map(str::to_owned).collect();
        names.extend(graph.proto.node.iter().map(|node| node.name().to_owned()));
        let mut forward = Self {
            mode,
            frame,
            inputs: graph.fed_inputs().cloned().collect(),
            freed: Vec::new(),
            emit: Emitter::new(names),
            forward_nodes: 0,
            values: inferred.values().filter_map(|name| Some((name.to_owned(), value(&inferred, name)?))).collect(),
            constants: HashMap::new(),
            normalizations: Vec::new(),
            findings: Vec::new(),
        };
        for tensor in &graph.proto.initializer {
            if let Ok(tensor_value) = Tensor::from_proto(tensor) {
                forward.constants.insert(tensor.name().to_owned(), tensor_value);
            }
        }
        for node in &graph.proto.node {
            forward.take(node, &graph, &inferred);
        }
        forward.forward_nodes = forward.emit.nodes.len();
        forward
    }

    /// A value whose type and shape are known.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The forward nodes in topological order.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.emit.nodes[..self.forward_nodes]
    }

    /// Makes a constant an input, so that it can change from run to run.
    pub fn free(&mut self, name: &str) {
        if self.constants.remove(name).is_some()
            && let Some(value) = self.values.get(name)
        {
            self.freed.push(value.clone());
        }
    }

    /// The model whose outputs are the given values and whose inputs are the original ones, the freed weights and
    /// `further` ones. What the outputs do not need is left out.
    pub fn into_model(self, outputs: &[Value], further: &[Value]) -> Model {
        let mut needed: HashSet<String> = outputs.iter().map(|value| value.name.clone()).collect();
        let mut nodes = Vec::new();
        for node in self.emit.nodes.into_iter().rev() {
            if node.output.iter().any(|name| needed.contains(name)) {
                needed.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
                needed.extend(node.subgraphs().flat_map(outer_names).map(str::to_owned));
                nodes.push(node);
            }
        }
        nodes.reverse();
        let mut initializer: Vec<TensorProto> = (self.constants.iter())
            .filter(|(name, _)| needed.contains(*name))
            .map(|(name, tensor)| tensor.to_proto(name))
            .collect();
        initializer.sort_by(|a, b| a.name.cmp(&b.name));
        initializer.extend(self.emit.constants.into_iter().filter(|tensor| needed.contains(tensor.name())));
        let mut input: Vec<ValueInfoProto> = self
            .inputs
            .into_iter()
            .filter(|info| needed.contains(info.name()))
            .map(|info| declare(&self.values, info))
            .collect();
        input.extend(self.freed.iter().chain(further).filter(|value| needed.contains(&value.name)).map(declaration));
        let mut proto = self.frame;
        for set in &mut proto.opset_import {
            if set.domain().is_empty() || set.domain() == "ai.onnx" {
                set.version = Some(set.version().max(TRAINING_OPSET));
            }
        }
        if proto.opset_import.is_empty() {
            proto.opset_import.push(OperatorSetIdProto { domain: None, version: Some(TRAINING_OPSET) });
        }
        // IR 4 is the first in which initializers need not be inputs, 8 goes with the operator set.
        proto.ir_version = Some(proto.ir_version().max(8));
        proto.graph = Some(GraphProto {
            name: Some("training".into()),
            node: nodes,
            initializer,
            input,
            output: outputs.iter().map(declaration).collect(),
            ..GraphProto::default()
        });
        Model::new(proto)
    }

    /// Takes over one node of the model.
    fn take(&mut self, node: &NodeProto, graph: &Graph, inferred: &Inferred) {
        if let [output] = node.output.as_slice() {
            let folded = match graph.constant(output) {
                Some(Ok(tensor)) => Some(tensor),
                _ => folded(inferred, output),
            };
            if let Some(tensor) = folded {
                self.constants.insert(output.clone(), tensor);
                return;
            }
        }
        let mut node = node.clone();
        if node.name().is_empty() {
            node.name = node.output.first().cloned();
        }
        if node.is("BatchNormalization") {
            if self.mode == Mode::Training {
                self.normalize_by_batch(&mut node, graph);
            }
        } else if node.is("Dropout") && node.output.get(1).is_none_or(|mask| graph.uses(mask).is_empty()) {
            if self.mode == Mode::Training {
                let label = node.label();
                self.findings
                    .push(format!("{label} is left out of training: the model was exported without its effect"));
            }
            node.op_type = Some("Identity".into());
            node.input.truncate(1);
            node.output.truncate(1);
            node.attribute.clear();
        } else if node.is("MaxPool") && node.output.get(1).is_none_or(String::is_empty) {
            let indices = self.derived(&node.output[0], "indices", |pooled| Value { dtype: DataType::Int64, ..pooled });
            node.output.resize(2, String::new());
            node.output[1] = indices;
        }
        self.emit.nodes.push(node);
    }

    /// A new value beside an output of the node at hand.
    fn derived(&mut self, output: &str, stem: &str, make: impl Fn(Value) -> Value) -> String {
        let name = self.emit.fresh(stem);
        if let Some(value) = self.values.get(output) {
            let value = Value { name: name.clone(), ..make(value.clone()) };
            self.values.insert(name.clone(), value);
        }
        name
    }

    /// Puts a `BatchNormalization` into training mode. Where its running statistics are no constants there is nothing to
    /// write new ones to, and it goes on normalising by those that it has.
    fn normalize_by_batch(&mut self, node: &mut NodeProto, graph: &Graph) {
        let (Some(x), Some(scale)) =
            (self.values.get(&node.input[0]).cloned(), self.values.get(&node.input[1]).cloned())
        else {
            return;
        };
        let statistic = |slot| node.input_name(slot).and_then(|name| behind(graph, name)).map(str::to_owned);
        let (Some(mean), Some(variance)) = (statistic(3), statistic(4)) else {
            let label = node.label();
            self.findings.push(format!("{label} keeps its running statistics: they are computed, not stored"));
            return;
        };
        let running = [mean, variance];
        // In training mode the kernel writes its results over the mean and the variance that it was given. With momentum
        // 0 it ignores what they were, so that two values made for it alone will do; they depend on an input of the
        // graph, for a constant would be computed once and kept.
        for slot in [3, 4] {
            let private = self.emit.scale(&scale, 0.5);
            node.input[slot].clone_from(&private.name);
            self.values.insert(private.name.clone(), private);
        }
        let momentum = node.float("momentum").unwrap_or(0.9);
        node.output.truncate(1);
        let batch = ["batch_mean", "batch_variance"].map(|stem| {
            let name = self.emit.fresh(stem);
            let value = Value { name: name.clone(), dtype: scale.dtype, shape: scale.shape.clone() };
            self.values.insert(name.clone(), value.clone());
            node.output.push(name);
            value
        });
        node.set_attribute("training_mode", Attribute::Int(1));
        node.set_attribute("momentum", Attribute::Float(0.0));
        let count = x.len() / x.shape.get(1).copied().unwrap_or(1).max(1);
        self.normalizations.push(Normalization { running, batch, momentum, count });
    }
}

/// Type and shape of a value, where both are known.
fn value(inferred: &Inferred, name: &str) -> Option<Value> {
    let shape =
        inferred.fixed_shape(name)?.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<_>>()?;
    Some(Value { name: name.to_owned(), dtype: inferred.dtype(name)?, shape })
}

/// The tensor of a value that describes a shape, where all its elements are known.
fn folded(inferred: &Inferred, name: &str) -> Option<Tensor> {
    let value: &ShapeValue = inferred.value(name)?;
    let elements = value.known()?;
    let data: bytes::Bytes = match inferred.dtype(name)? {
        DataType::Int64 => elements.iter().flat_map(|element| element.to_le_bytes()).collect(),
        DataType::Int32 => elements.iter().flat_map(|element| (*element as i32).to_le_bytes()).collect(),
        _ => return None,
    };
    Tensor::from_bytes(inferred.dtype(name)?, &value.shape, data).ok()
}

/// The declaration with the shape that the input has here.
fn declare(values: &HashMap<String, Value>, info: ValueInfoProto) -> ValueInfoProto {
    values.get(info.name()).map_or(info, declaration)
}

fn declaration(value: &Value) -> ValueInfoProto {
    let shape: Vec<_> = value.shape.iter().map(|size| crate::onnx::builder::Size::Fixed(*size)).collect();
    crate::onnx::builder::value_info(&value.name, value.dtype, &shape)
}
