//! What changed from version to version, from operator set 10 on, and the list of all steps.

#![expect(clippy::unnecessary_wraps, reason = "the steps of the list share one signature")]

use super::super::attribute::Attribute;
use super::super::proto::NodeProto;
use super::super::tensor::Tensor;
use super::{Raising, Rewritten, early, node, set_input, take};

/// Rewrites a node of the version before.
pub type Step = fn(&mut Raising, NodeProto) -> Rewritten;

/// The version in which the operators changed, the operators, the step.
pub const STEPS: &[(i64, &[&str], Step)] = &[
    (2, &["Pad"], early::pad_names),
    (5, &["Reshape"], early::reshape),
    (
        7,
        &["Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", "PRelu"],
        early::broadcasting,
    ),
    (7, &["Gemm"], early::gemm),
    (7, &["Dropout", "BatchNormalization"], early::test_mode),
    (7, &["Upsample"], early::upsample_names),
    (9, &["Scan"], early::scan),
    (9, &["BatchNormalization"], early::spatial),
    (9, &["Upsample"], early::upsample_input),
    (10, &["Slice"], slice),
    (10, &["TopK"], top_k),
    (10, &["Upsample"], upsample),
    (10, &["Dropout"], dropout_mask),
    (10, &["Affine"], early::affine),
    (10, &["ScaledTanh", "ParametricSoftplus"], early::scaled_activation),
    (10, &["ImageScaler"], early::image_scaler),
    (10, &["Crop"], early::crop),
    (11, &["Clip"], clip),
    (11, &["Pad"], pad),
    (11, &["Resize"], resize),
    (11, &["Scatter"], scatter),
    (12, &["Dropout"], dropout),
    (13, &["Softmax", "LogSoftmax", "Hardmax"], softmax),
    (13, &["Squeeze", "Unsqueeze", "ReduceSum"], axes),
    (13, &["Split"], split_sizes),
    (14, &["BatchNormalization"], batch_normalization),
    (16, &["RoiAlign"], roi_align),
    (
        18,
        &[
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceSumSquare",
        ],
        axes,
    ),
    (18, &["Split"], split_count),
];

/// The step of an operator into a version.
pub fn find(to: i64, op_type: &str) -> Option<Step> {
    STEPS.iter().find(|(version, operators, _)| *version == to && operators.contains(&op_type)).map(|(.., step)| *step)
}

fn stem(node: &NodeProto) -> String {
    node.output.first().cloned().unwrap_or_default()
}

/// Moves a list of integers from an attribute to an input.
fn integers_to_input(raising: &mut Raising, node: &mut NodeProto, attribute: &str, slot: usize) -> Option<NodeProto> {
    let numbers = take(node, attribute)?.ints;
    let (constant, name) = raising.integers(&stem(node), &numbers);
    set_input(node, slot, name);
    Some(constant)
}

fn axes(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let constant = integers_to_input(raising, &mut node, "axes", 1);
    Ok(constant.into_iter().chain([node]).collect())
}

fn split_sizes(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let constant = integers_to_input(raising, &mut node, "split", 1);
    Ok(constant.into_iter().chain([node]).collect())
}

/// Without sizes the parts were equal; since 18 their number is said.
fn split_count(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    if node.input_name(1).is_none() {
        let count = node.output.len() as i64;
        node.set_attribute("num_outputs", Attribute::Int(count));
    }
    Ok(vec![node])
}

fn slice(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let mut nodes = Vec::new();
    for (slot, attribute) in [(1, "starts"), (2, "ends"), (3, "axes")] {
        nodes.extend(integers_to_input(raising, &mut node, attribute, slot));
    }
    if node.input.len() < 3 {
        return Err("it has no starts and ends".into());
    }
    nodes.push(node);
    Ok(nodes)
}

fn top_k(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let count = take(&mut node, "k").and_then(|attribute| attribute.i).ok_or("it has no k")?;
    let (constant, name) = raising.integers(&stem(&node), &[count]);
    set_input(&mut node, 1, name);
    Ok(vec![constant, node])
}

/// Upsample became Resize.
fn upsample(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    node.op_type = Some("Resize".into());
    Ok(vec![node])
}

/// The mask became a tensor of booleans.
fn dropout_mask(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    if node.output.get(1).is_some_and(|name| !name.is_empty()) {
        // A mask that nothing reads is left behind by exporters; the runtime makes none when it is not training.
        node.output.truncate(1);
        node.op_type = Some("Identity".into());
        node.attribute.clear();
    }
    Ok(vec![node])
}

fn dropout(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let Some(ratio) = take(&mut node, "ratio").and_then(|attribute| attribute.f) else { return Ok(vec![node]) };
    let (constant, name) = raising.constant(&stem(&node), &Tensor::from_f32(&[], &[ratio]));
    set_input(&mut node, 1, name);
    Ok(vec![constant, node])
}

fn clip(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let mut nodes = Vec::new();
    let like = node.input.first().cloned().unwrap_or_default();
    for (slot, attribute) in [(1, "min"), (2, "max")] {
        if let Some(value) = take(&mut node, attribute).and_then(|attribute| attribute.f) {
            let (constant, name) = raising.scalar_like(&stem(&node), value, &like)?;
            set_input(&mut node, slot, name);
            nodes.push(constant);
        }
    }
    nodes.push(node);
    Ok(nodes)
}

fn pad(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let like = node.input.first().cloned().unwrap_or_default();
    let mut nodes: Vec<NodeProto> = integers_to_input(raising, &mut node, "pads", 1).into_iter().collect();
    if let Some(value) = take(&mut node, "value").and_then(|attribute| attribute.f).filter(|value| *value != 0.0) {
        let (constant, name) = raising.scalar_like(&stem(&node), value, &like)?;
        set_input(&mut node, 2, name);
        nodes.push(constant);
    }
    nodes.push(node);
    Ok(nodes)
}

/// Version 10 mapped x to x ÷ scale and took the floor; downwards, nearest neighbours were others in some runtimes.
fn resize(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let scales = node.input.get(1).cloned().ok_or("it has no scales")?;
    let nearest = node.text("mode").is_none_or(|mode| mode == "nearest");
    let factors = raising.floats.get(&scales).cloned();
    let factors = factors.or_else(|| raising.inferred.floats(&scales).map(<[f32]>::to_vec));
    let enlarges = factors.is_some_and(|factors| factors.iter().all(|factor| *factor >= 1.0));
    if nearest && !enlarges {
        return Err("which neighbour is nearest when it makes an image smaller is not the same in both versions".into());
    }
    let (roi, name) = raising.constant(&stem(&node), &Tensor::from_f32(&[0], &[]));
    node.input = vec![node.input[0].clone(), name, scales];
    node.set_attribute("coordinate_transformation_mode", Attribute::String("asymmetric".into()));
    if nearest {
        node.set_attribute("nearest_mode", Attribute::String("floor".into()));
    }
    Ok(vec![roi, node])
}

fn scatter(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    node.op_type = Some("ScatterElements".into());
    Ok(vec![node])
}

/// Before 13 the axes from `axis` on were one; now it is one axis.
fn softmax(raising: &mut Raising, mut inner: NodeProto) -> Rewritten {
    let axis = inner.int("axis").unwrap_or(1);
    let (input, output) = match (inner.input.first(), inner.output.first()) {
        (Some(input), Some(output)) => (input.clone(), output.clone()),
        _ => return Err("it has no input or output".into()),
    };
    let rank = raising.inferred.rank(&input).map(|rank| rank as i64);
    let last = rank.is_some_and(|rank| axis == -1 || axis == rank - 1);
    inner.set_attribute("axis", Attribute::Int(-1));
    if last {
        return Ok(vec![inner]);
    }
    let (shape, flat, done) = (raising.name(&output), raising.name(&output), raising.name(&output));
    let mut flatten = node("Flatten", &[&input], &[&flat]);
    flatten.set_attribute("axis", Attribute::Int(axis));
    inner.input[0] = flat;
    inner.output[0].clone_from(&done);
    Ok(vec![node("Shape", &[&input], &[&shape]), flatten, inner, node("Reshape", &[&done, &shape], &[&output])])
}

/// Statistics are outputs only in training mode, which is an attribute now.
fn batch_normalization(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    if node.output.iter().skip(1).any(|name| !name.is_empty()) {
        return Err("it is in training mode".into());
    }
    node.output.truncate(1);
    Ok(vec![node])
}

fn roi_align(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    if node.find_attribute("coordinate_transformation_mode").is_none() {
        node.set_attribute("coordinate_transformation_mode", Attribute::String("output_half_pixel".into()));
    }
    Ok(vec![node])
}
