//! The walk back: from gradients of some values to gradients of the values they were computed from.
//!
//! Here and only here gradients are summed back to the shape of a broadcast input and added up over the users of a value,
//! and here it is decided what cannot be trained: where a node on the way has no gradient, everything that reaches the
//! loss through it is frozen, for with one path missing a gradient would be wrong rather than incomplete.

use std::collections::{HashMap, HashSet};

use super::emit::{Emitter, Value};
use super::forward::Forward;
use super::rules::{self, NoGradient, Step};
use crate::onnx::proto::NodeProto;

/// Gradients, and what has none.
#[derive(Debug, Default)]
pub struct Gradients {
    /// Gradient by value, in the value's shape.
    pub of: HashMap<String, Value>,
    /// Wanted values without a gradient, in the order in which they were asked for.
    pub frozen: Vec<Blocked>,
}

/// A value without a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub value: String,
    /// The node that passes none on, as messages name it; `None` where the value does not reach the seeds at all.
    pub node: Option<String>,
    pub reason: String,
}

/// A node that passes no gradient on.
struct Obstacle {
    node: usize,
    reason: String,
}

/// Extends the graph by the gradients of the `wanted` values, given the gradients of the seeds.
pub fn differentiate(forward: &mut Forward, seeds: &[(String, Value)], wanted: &[String]) -> Gradients {
    let mut frozen: HashMap<String, Blocked> = HashMap::new();
    let mut of = loop {
        let open: HashSet<&str> =
            wanted.iter().map(String::as_str).filter(|name| !frozen.contains_key(*name)).collect();
        match walk(forward, seeds, &open) {
            Ok(gradients) => break gradients,
            Err(obstacle) => {
                let label = forward.nodes()[obstacle.node].label();
                for name in sources(forward, obstacle.node, &open) {
                    let blocked =
                        Blocked { value: name.clone(), node: Some(label.clone()), reason: obstacle.reason.clone() };
                    frozen.insert(name, blocked);
                }
            }
        }
    };
    let mut result = Gradients::default();
    for name in wanted {
        if let Some(gradient) = of.remove(name) {
            result.of.insert(name.clone(), gradient);
        } else {
            result.frozen.push(frozen.remove(name).unwrap_or_else(|| Blocked {
                value: name.clone(),
                node: None,
                reason: "the loss does not depend on it".into(),
            }));
        }
    }
    result
}

/// One walk over all nodes. Stops at the first that matters and has no gradient.
fn walk(
    forward: &mut Forward,
    seeds: &[(String, Value)],
    wanted: &HashSet<&str>,
) -> Result<HashMap<String, Value>, Obstacle> {
    let reached = reached(forward, wanted);
    let mut pending: HashMap<String, Vec<Value>> = HashMap::new();
    for (value, gradient) in seeds {
        pending.entry(value.clone()).or_default().push(gradient.clone());
    }
    for index in (0..forward.forward_nodes).rev() {
        let node = forward.nodes()[index].clone();
        if !node.output.iter().any(|name| pending.contains_key(name)) {
            continue;
        }
        let flags: Vec<bool> = node.input.iter().map(|name| reached.contains(name)).collect();
        if !flags.contains(&true) {
            continue;
        }
        let upstream: Vec<Option<Value>> =
            node.output.iter().map(|name| pending.remove(name).map(|parts| total(&mut forward.emit, parts))).collect();
        let gradients =
            apply(forward, &node, upstream, &flags).map_err(|NoGradient(reason)| Obstacle { node: index, reason })?;
        for (slot, gradient) in gradients.into_iter().enumerate() {
            let (Some(gradient), Some(true)) = (gradient, flags.get(slot)) else { continue };
            // `apply` has found every input's value.
            let Some(input) = forward.value(&node.input[slot]).cloned() else { continue };
            let gradient = to_shape(&mut forward.emit, &gradient, &input.shape);
            pending.entry(input.name).or_default().push(gradient);
        }
    }
    Ok(pending.into_iter().map(|(name, parts)| (name, total(&mut forward.emit, parts))).collect())
}

fn apply(
    forward: &mut Forward,
    node: &NodeProto,
    upstream: Vec<Option<Value>>,
    wanted: &[bool],
) -> Result<Vec<Option<Value>>, NoGradient> {
    let rule = if node.operator_domain().is_empty() { rules::find(node.op_type()) } else { None };
    let rule = rule.ok_or_else(|| NoGradient("has no gradient rule".into()))?;
    let find = |names: &[String]| {
        names
            .iter()
            .map(|name| match name.as_str() {
                "" => Ok(None),
                name => forward.value(name).cloned().map(Some).ok_or_else(|| {
                    NoGradient(format!("has the value `{name}`, whose shape is not known before the graph runs"))
                }),
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let (inputs, outputs) = (find(&node.input)?, find(&node.output)?);
    let mut step = Step {
        node,
        inputs,
        outputs,
        upstream,
        wanted: wanted.to_vec(),
        constants: &forward.constants,
        emit: &mut forward.emit,
    };
    rule(&mut step)
}

/// Names of all values that depend on the wanted ones through floating-point values.
fn reached(forward: &Forward, wanted: &HashSet<&str>) -> HashSet<String> {
    let mut reached: HashSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    for node in forward.nodes() {
        if inputs(node).any(|name| reached.contains(name)) {
            // A value of unknown shape may be a float: its node will say what is unknown.
            let passes = |name: &&String| forward.value(name).is_none_or(|value| value.dtype.is_float());
            let outputs: Vec<String> =
                node.output.iter().filter(|name| !name.is_empty()).filter(passes).cloned().collect();
            reached.extend(outputs);
        }
    }
    reached
}

/// Those of the wanted values that a node's outputs depend on.
fn sources(forward: &Forward, node: usize, wanted: &HashSet<&str>) -> Vec<String> {
    let mut behind: HashSet<&str> = inputs(&forward.nodes()[node]).collect();
    for earlier in forward.nodes()[..node].iter().rev() {
        if earlier.output.iter().any(|name| behind.contains(name.as_str())) {
            behind.extend(inputs(earlier));
        }
    }
    behind.into_iter().filter(|name| wanted.contains(name)).map(str::to_owned).collect()
}

/// The names of the values that a node uses, in its subgraphs too.
fn inputs(node: &NodeProto) -> impl Iterator<Item = &str> {
    let outer = node.subgraphs().flat_map(crate::onnx::graph::outer_names);
    node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).chain(outer)
}

/// The sum of the gradients that a value's users gave, in the order in which they came.
fn total(emit: &mut Emitter, parts: Vec<Value>) -> Value {
    let mut parts = parts.into_iter();
    // A value is entered with its first gradient.
    let first = parts.next().unwrap_or_else(|| unreachable!("a pending value has a gradient"));
    parts.fold(first, |sum, part| emit.add(&sum, &part))
}

/// Sums a gradient over the axes that the input was repeated along.
fn to_shape(emit: &mut Emitter, gradient: &Value, shape: &[usize]) -> Value {
    if gradient.shape == shape {
        return gradient.clone();
    }
    let ahead = gradient.rank() - shape.len();
    let repeated: Vec<usize> = (0..gradient.rank())
        .filter(|axis| *axis < ahead || (shape[axis - ahead] == 1 && gradient.shape[*axis] != 1))
        .collect();
    let summed = emit.sum(gradient, &repeated, true);
    emit.reshape(&summed, shape)
}
