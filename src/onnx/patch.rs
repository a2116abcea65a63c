//! A change to a graph as a value: checked before it is applied, and the result after.
//!
//! Nodes are named by an output, so that changes do not move each other's places. What a patch leaves without a user is
//! removed; what had none before stays, it is part of the file. Intermediate declarations are dropped, declared outputs
//! follow the new shapes.

use std::collections::HashSet;

use super::attribute::Attribute;
use super::builder::Size;
use super::check::{Unsound, check};
use super::graph::outer_names;
use super::model::Model;
use super::order::sort_model;
use super::proto::{Dimension, DimensionValue, GraphProto, NodeProto, TensorProto, TypeValue, ValueInfoProto};
use super::shape::{Dim, Inferred, infer};
use super::tensor::Tensor;

/// One change. `node` is the name of one of the node's outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    AddInitializer {
        name: String,
        tensor: Tensor,
    },
    ReplaceInitializer {
        name: String,
        tensor: Tensor,
    },
    /// A copy of an initializer for one user, so that the others keep theirs.
    CloneInitializer {
        name: String,
        copy: String,
        node: String,
        slot: usize,
    },
    SetAttribute {
        node: String,
        name: String,
        value: Attribute,
    },
    ReplaceInput {
        node: String,
        slot: usize,
        value: String,
    },
    /// The node finds its place by what it uses.
    InsertNode {
        node: NodeProto,
    },
    RemoveNode {
        node: String,
    },
    /// Declares the size of an axis of a graph input.
    DeclareInput {
        name: String,
        axis: usize,
        size: Size,
    },
}

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("there is no {what} `{name}`")]
    Missing { what: &'static str, name: String },
    #[error("the name `{name}` is taken")]
    Taken { name: String },
    #[error("`{node}` has no input {slot} that is `{value}`")]
    OtherInput { node: String, slot: usize, value: String },
    #[error("the patched model is not sound: {0}")]
    Unsound(#[from] Unsound),
    #[error("in the patched model the shape of `{value}` (`{node}`) can no longer be told: {reason}")]
    Unshaped { node: String, value: String, reason: String },
}

/// A patched model and what was done to it.
#[derive(Clone, Debug)]
pub struct Applied {
    pub model: Model,
    pub inferred: Inferred,
    /// Nodes that lost their last user, by label.
    pub removed_nodes: Vec<String>,
    /// Initializers that lost their last user.
    pub removed_initializers: Vec<String>,
    /// Graph outputs whose declared shape changed.
    pub redeclared: Vec<String>,
}

/// Applies changes in their order.
///
/// Errors: a name that is not there or taken, or a result that is not sound, or whose shapes are less known than before.
pub fn apply(model: &Model, changes: &[Change]) -> Result<Applied, PatchError> {
    let before = infer(model);
    let used = live(model.graph_proto());
    let mut patched = model.clone();
    let graph = patched.graph_proto_mut();
    for change in changes {
        make(graph, change)?;
    }
    graph.value_info.clear();
    sort_model(&mut patched.proto).map_err(|cycle| Unsound::Cycle { nodes: cycle.nodes })?;
    let (removed_nodes, removed_initializers) = sweep(patched.graph_proto_mut(), &used, model.graph_proto());
    check(&patched.proto, u64::MAX)?;
    let inferred = infer(&patched);
    let known_before = |value: &str| before.dims(value).is_some() || !before.values().any(|name| name == value);
    if let Some(unknown) = inferred.unknown().iter().find(|unknown| known_before(&unknown.value)) {
        let (node, value, reason) = (unknown.label.clone(), unknown.value.clone(), unknown.reason.clone());
        return Err(PatchError::Unshaped { node, value, reason });
    }
    let redeclared = redeclare(&mut patched.graph_proto_mut().output, &before, &inferred);
    Ok(Applied { model: patched, inferred, removed_nodes, removed_initializers, redeclared })
}

/// Makes one change, unchecked but for its own names.
pub(super) fn make(graph: &mut GraphProto, change: &Change) -> Result<(), PatchError> {
    match change {
        Change::AddInitializer { name, tensor } => {
            free(graph, name)?;
            graph.initializer.push(tensor.to_proto(name));
        }
        Change::ReplaceInitializer { name, tensor } => *initializer(graph, name)? = tensor.to_proto(name),
        Change::CloneInitializer { name, copy, node, slot } => {
            free(graph, copy)?;
            let mut cloned = initializer(graph, name)?.clone();
            cloned.name = Some(copy.clone());
            let user = producer(graph, node)?;
            match user.input.get_mut(*slot).filter(|input| *input == name) {
                Some(input) => input.clone_from(copy),
                None => return Err(PatchError::OtherInput { node: node.clone(), slot: *slot, value: name.clone() }),
            }
            graph.initializer.push(cloned);
        }
        Change::SetAttribute { node, name, value } => producer(graph, node)?.set_attribute(name, value.clone()),
        Change::ReplaceInput { node, slot, value } => {
            let user = producer(graph, node)?;
            match user.input.get_mut(*slot) {
                Some(input) => input.clone_from(value),
                None => return Err(PatchError::OtherInput { node: node.clone(), slot: *slot, value: value.clone() }),
            }
        }
        Change::InsertNode { node } => {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                free(graph, name)?;
            }
            graph.node.push(node.clone());
        }
        Change::RemoveNode { node } => {
            let position = graph.node.iter().position(|candidate| candidate.output.contains(node));
            graph.node.remove(position.ok_or_else(|| PatchError::Missing { what: "node", name: node.clone() })?);
        }
        Change::DeclareInput { name, axis, size } => {
            let missing = || PatchError::Missing { what: "input axis", name: format!("{name}[{axis}]") };
            let info = graph.input.iter_mut().find(|info| info.name() == name).ok_or_else(missing)?;
            let dim = shape_of(info).and_then(|shape| shape.get_mut(*axis)).ok_or_else(missing)?;
            dim.value = Some(match size {
                Size::Fixed(size) => DimensionValue::Value(*size as i64),
                Size::Named(name) => DimensionValue::Param(name.clone()),
            });
        }
    }
    Ok(())
}

fn shape_of(info: &mut ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    match info.r#type.as_mut()?.value.as_mut()? {
        TypeValue::Tensor(tensor) => Some(&mut tensor.shape.as_mut()?.dim),
        _ => None,
    }
}

fn free(graph: &GraphProto, name: &str) -> Result<(), PatchError> {
    let made = graph.node.iter().flat_map(|node| &node.output).any(|output| output == name);
    let held = graph.initializer.iter().any(|tensor| tensor.name() == name);
    let fed = graph.input.iter().any(|info| info.name() == name);
    if made || held || fed { Err(PatchError::Taken { name: name.to_owned() }) } else { Ok(()) }
}

fn initializer<'g>(graph: &'g mut GraphProto, name: &str) -> Result<&'g mut TensorProto, PatchError> {
    let found = graph.initializer.iter_mut().find(|tensor| tensor.name() == name);
    found.ok_or_else(|| PatchError::Missing { what: "initializer", name: name.to_owned() })
}

fn producer<'g>(graph: &'g mut GraphProto, output: &str) -> Result<&'g mut NodeProto, PatchError> {
    let found = graph.node.iter_mut().find(|node| node.output.iter().any(|name| name == output));
    found.ok_or_else(|| PatchError::Missing { what: "node", name: output.to_owned() })
}

/// The names that the graph's outputs need, directly or not.
fn live(graph: &GraphProto) -> HashSet<String> {
    let mut needed: HashSet<String> = graph.output.iter().map(|info| info.name().to_owned()).collect();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needed.extend(node.output.iter().cloned());
            needed.extend(node.input.iter().cloned());
            needed.extend(node.subgraphs().flat_map(outer_names).map(str::to_owned));
        }
    }
    needed
}

/// Removes what the patch made useless: what is not needed now and was needed before, or was not there.
fn sweep(graph: &mut GraphProto, used: &HashSet<String>, original: &GraphProto) -> (Vec<String>, Vec<String>) {
    let needed = live(graph);
    let there: HashSet<&str> = (original.node.iter().flat_map(|node| node.output.iter().map(String::as_str)))
        .chain(original.initializer.iter().map(TensorProto::name))
        .collect();
    let useless = |name: &str| !needed.contains(name) && (used.contains(name) || !there.contains(name));
    let (mut nodes, mut initializers) = (Vec::new(), Vec::new());
    graph.node.retain(|node| {
        let gone = !node.output.is_empty() && node.output.iter().all(|name| name.is_empty() || useless(name));
        if gone {
            nodes.push(node.label());
        }
        !gone
    });
    graph.initializer.retain(|tensor| {
        let gone = useless(tensor.name());
        if gone {
            initializers.push(tensor.name().to_owned());
        }
        !gone
    });
    graph.input.retain(|info| !initializers.iter().any(|name| name == info.name()));
    (nodes, initializers)
}

/// Gives outputs whose shape changed the shape that they have now.
fn redeclare(outputs: &mut [ValueInfoProto], before: &Inferred, now: &Inferred) -> Vec<String> {
    let mut changed = Vec::new();
    for info in outputs {
        let name = info.name().to_owned();
        let (Some(old), Some(new)) = (before.dims(&name), now.dims(&name)) else { continue };
        if old == new {
            continue;
        }
        let dims = new.iter().map(declared_size).collect();
        if let Some(shape) = shape_of(info) {
            *shape = dims;
            changed.push(name);
        }
    }
    changed
}

fn declared_size(dim: &Dim) -> Dimension {
    let value = match dim.as_known() {
        Some(size) => DimensionValue::Value(size),
        None => DimensionValue::Param(dim.to_string()),
    };
    Dimension { value: Some(value), ..Dimension::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;

    fn model() -> (Model, String, String) {
        let mut b = GraphBuilder::new("two users");
        let x = b.input("x", DataType::Float, &["n".into(), 3.into()]);
        let w = b.initializer("w", &Tensor::from_f32(&[3, 4], &[1.0; 12]));
        let a = b.node("MatMul", &[&x, &w], &[]);
        let c = b.node("MatMul", &[&x, &w], &[]);
        let y = b.node("Concat", &[&a, &c], &[("axis", Attribute::Int(1))]);
        b.output(&y, DataType::Float, &["n".into(), 8.into()]);
        (b.build(17), a, y)
    }

    #[test]
    fn a_clone_serves_one_user_and_the_output_follows() {
        let (model, a, y) = model();
        let narrow = Tensor::from_f32(&[3, 2], &[1.0; 6]);
        let clone = Change::CloneInitializer { name: "w".into(), copy: "w_a".into(), node: a, slot: 1 };
        let applied =
            apply(&model, &[clone, Change::ReplaceInitializer { name: "w_a".into(), tensor: narrow }]).unwrap();
        assert_eq!(applied.redeclared, std::slice::from_ref(&y));
        assert_eq!(applied.inferred.dims(&y).unwrap()[1], Dim::known(6));
        assert_eq!(applied.model.graph().initializer("w").unwrap().dims, [3, 4]);
    }

    #[test]
    fn what_lost_its_last_user_is_removed() {
        let (model, a, y) = model();
        let applied = apply(&model, &[Change::ReplaceInput { node: y, slot: 0, value: "x".into() }]).unwrap();
        assert_eq!(applied.removed_nodes.len(), 1);
        assert!(applied.model.graph().producer(&a).is_none());
        assert!(applied.removed_initializers.is_empty(), "the other user still needs it");
    }

    #[test]
    fn a_patch_that_does_not_fit_is_refused() {
        let (model, a, y) = model();
        let missing = Change::ReplaceInitializer { name: "v".into(), tensor: Tensor::from_f32(&[0], &[]) };
        assert!(matches!(apply(&model, &[missing]), Err(PatchError::Missing { .. })));
        let dangling = Change::ReplaceInput { node: y, slot: 0, value: "nowhere".into() };
        assert!(matches!(apply(&model, &[dangling]), Err(PatchError::Unsound(Unsound::DanglingInput { .. }))));
        let tall = Change::ReplaceInitializer { name: "w".into(), tensor: Tensor::from_f32(&[5, 4], &[1.0; 20]) };
        assert!(matches!(apply(&model, &[tall]), Err(PatchError::Unshaped { value, .. }) if value == a));
    }
}
