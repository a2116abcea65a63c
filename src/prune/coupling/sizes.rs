//! Which sizes are used as data: a size that scales attention or counts a mean must not change behind its user's back.
//!
//! Follows the elements of shape values from `Shape` to their users. Where they end as a shape, a bound or a pad, the
//! surgery sees to it that they come out right. Where they end anywhere else, they go on being what they were: numbers that
//! are known are written down as constants, and the axes that other numbers are sizes of are frozen.

use std::collections::HashMap;

use super::factor::FactorId;
use super::relations::Relations;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::NodeIndex;
use crate::onnx::proto::NodeProto;

/// For each element of a value the axes that it depends on.
type Elements = Vec<Vec<FactorId>>;

/// Elements above which a value is followed as a whole.
const MAX_ELEMENTS: usize = 1024;

/// Fixes the numbers that are sizes and are used as data, or freezes the axes that they are sizes of.
pub fn pin_sizes_used_as_data(relations: &mut Relations<'_>) {
    let graph = relations.graph;
    let mut known: HashMap<&str, Elements> = HashMap::new();
    for (index, node) in graph.proto.node.iter().enumerate() {
        let outputs = if node.is("Shape") || node.is("Size") {
            Some(source(relations, index, node))
        } else {
            follow(relations, index, node, &known)
        };
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if let Some(elements) = &outputs
                && elements.iter().any(|axes| !axes.is_empty())
            {
                if graph.is_output(name) {
                    pin(relations, elements.iter().flatten(), &node.label());
                }
                known.insert(name, elements.clone());
            }
        }
        for subgraph in node.subgraphs() {
            for name in crate::onnx::graph::outer_names(subgraph) {
                if let Some(elements) = known.get(name) {
                    pin(relations, elements.iter().flatten(), &node.label());
                }
            }
        }
    }
}

fn source(relations: &Relations<'_>, index: NodeIndex, node: &NodeProto) -> Elements {
    let axes = relations.input(index, 0).and_then(|tensor| relations.tensors[tensor].axes.clone()).unwrap_or_default();
    if node.is("Size") {
        return vec![axes];
    }
    let rank = axes.len() as i64;
    let bound = |name: &str, default: i64| {
        let value = node.int(name).unwrap_or(default);
        (if value < 0 { value + rank } else { value }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    axes.get(start..end.max(start)).unwrap_or_default().iter().map(|axis| vec![*axis]).collect()
}

/// Whether an input is a shape, a bound, an axis or a pad.
fn is_shape_parameter(node: &NodeProto, slot: usize) -> bool {
    if !node.operator_domain().is_empty() {
        return false;
    }
    match node.op_type() {
        "ConstantOfShape" => slot == 0,
        "Reshape" | "Expand" | "Split" | "Tile" | "Squeeze" | "Unsqueeze" => slot == 1,
        "Slice" | "Pad" | "Resize" | "Upsample" => slot >= 1,
        op_type => op_type.starts_with("Reduce") && slot == 1,
    }
}

/// The elements of a node's output, where it computes with sizes; pins them where it uses them as data.
fn follow<'g>(
    relations: &mut Relations<'g>,
    index: NodeIndex,
    node: &'g NodeProto,
    known: &HashMap<&str, Elements>,
) -> Option<Elements> {
    let slots: Vec<usize> = (0..node.input.len())
        .filter(|slot| known.contains_key(node.input[*slot].as_str()) && !is_shape_parameter(node, *slot))
        .collect();
    if slots.is_empty() {
        return None;
    }
    let output = node.output.first()?;
    let integral = matches!(relations.inferred.dtype(output), Some(DataType::Int64 | DataType::Int32));
    let all = |slots: &[usize]| {
        let mut axes: Vec<FactorId> =
            slots.iter().flat_map(|slot| known[node.input[*slot].as_str()].iter().flatten().copied()).collect();
        axes.sort_unstable();
        axes.dedup();
        axes
    };
    if !integral || !node.operator_domain().is_empty() || matches!(node.op_type(), "Range" | "Gather" if slots != [0]) {
        fix(relations, (index, node), &slots, &all(&slots));
        return None;
    }
    let count = relations.inferred.dims(output).and_then(|dims| {
        dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(dim.as_known()?).ok()?))
    });
    let Some(count) = count.filter(|count| *count <= MAX_ELEMENTS) else {
        fix(relations, (index, node), &slots, &all(&slots));
        return None;
    };
    Some(moved(relations, node, known, count).unwrap_or_else(|| vec![all(&slots); count]))
}

/// The elements of operators that only move them, where the way they move is known.
fn moved(
    relations: &Relations<'_>,
    node: &NodeProto,
    known: &HashMap<&str, Elements>,
    count: usize,
) -> Option<Elements> {
    let length = |name: &str| {
        let dims = relations.inferred.dims(name)?;
        dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(dim.as_known()?).ok()?))
    };
    let elements = |name: &str| Some(known.get(name).cloned().unwrap_or(vec![Vec::new(); length(name)?]));
    let numbers = |slot: usize| relations.inferred.value(node.input_name(slot)?)?.known();
    let x = elements(node.input_name(0)?)?;
    let moved: Elements = match node.op_type() {
        "Identity" | "Cast" | "Squeeze" | "Unsqueeze" | "Reshape" => x,
        "Concat" => node.input.iter().map(|name| elements(name)).collect::<Option<Vec<_>>>()?.concat(),
        "Gather" => {
            let at = |index: i64| if index < 0 { index + x.len() as i64 } else { index };
            numbers(1)?
                .into_iter()
                .map(|index| x.get(usize::try_from(at(index)).ok()?).cloned())
                .collect::<Option<_>>()?
        }
        "Slice" => {
            if node.input_name(4).is_some() && numbers(4)? != [1] {
                return None;
            }
            let start = match node.ints("starts") {
                Some(starts) => *starts.first()?,
                None => *numbers(1)?.first()?,
            };
            let start = (if start < 0 { start.saturating_add(x.len() as i64) } else { start }).clamp(0, x.len() as i64)
                as usize;
            x.get(start..start + count)?.to_vec()
        }
        _ => return None,
    };
    (moved.len() == count).then_some(moved)
}

/// Numbers that a node uses as data stay what they are: as constants where they are known, by freezing what they count
/// where they are not.
fn fix(relations: &mut Relations<'_>, (index, node): (NodeIndex, &NodeProto), slots: &[usize], axes: &[FactorId]) {
    let is_known = |slot: &usize| {
        let name = &node.input[*slot];
        relations.inferred.dtype(name) == Some(DataType::Int64)
            && relations.inferred.value(name).is_some_and(|value| value.known().is_some())
    };
    if slots.iter().all(is_known) {
        relations.fixed_numbers.extend(slots.iter().map(|slot| (index, *slot)));
    } else {
        pin(relations, axes.iter(), &node.label());
    }
}

fn pin<'a>(relations: &mut Relations<'_>, axes: impl Iterator<Item = &'a FactorId>, operator: &str) {
    for axis in axes {
        relations.freeze(*axis, Some(operator), "its size is used as data");
    }
}
