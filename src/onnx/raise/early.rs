//! What changed before operator set 10, and the experimental operators that ended there.

#![expect(
    clippy::unnecessary_wraps,
    clippy::needless_pass_by_value,
    reason = "the steps of the list share one signature"
)]

use super::super::attribute::Attribute;
use super::super::proto::NodeProto;
use super::super::tensor::Tensor;
use super::{Raising, Rewritten, node, set_input, take};

fn stem(node: &NodeProto) -> String {
    node.output.first().cloned().unwrap_or_default()
}

fn ends(node: &NodeProto) -> Result<(String, String), String> {
    match (node.input_name(0), node.output.first()) {
        (Some(input), Some(output)) => Ok((input.to_owned(), output.clone())),
        _ => Err("it has no input or output".into()),
    }
}

pub fn pad_names(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    if let Some(mut pads) = take(&mut node, "paddings") {
        pads.name = Some("pads".into());
        node.attribute.push(pads);
    }
    Ok(vec![node])
}

pub fn reshape(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let shape = take(&mut node, "shape").ok_or("it has no shape")?.ints;
    take(&mut node, "consumed_inputs");
    let (constant, name) = raising.integers(&stem(&node), &shape);
    set_input(&mut node, 1, name);
    Ok(vec![constant, node])
}

/// One-sided broadcasting that starts at an axis: the second input gets axes of size 1 behind it.
pub fn broadcasting(raising: &mut Raising, mut main: NodeProto) -> Rewritten {
    take(&mut main, "consumed_inputs");
    let broadcast = take(&mut main, "broadcast").and_then(|attribute| attribute.i).unwrap_or(0) != 0;
    let axis = take(&mut main, "axis").and_then(|attribute| attribute.i);
    let [left, right] = main.input.as_slice() else { return Ok(vec![main]) };
    let rank = |name: &str| raising.inferred.rank(name).map(|rank| rank as i64);
    // A slope of PRelu, one a channel, was spread over the axes behind the channels.
    let axis =
        if main.op_type() == "PRelu" { (rank(right) == Some(1)).then_some(1) } else { axis.filter(|_| broadcast) };
    let Some(axis) = axis else { return Ok(vec![main]) };
    let (a, b) = rank(left).zip(rank(right)).ok_or("it broadcasts from an axis, and the ranks are unknown")?;
    let axis = if axis < 0 { axis.saturating_add(a) } else { axis };
    let behind = a.saturating_sub(axis).saturating_sub(b);
    if behind == 0 || (main.op_type() == "PRelu" && raising.inferred.fixed_shape(right) == Some(vec![1])) {
        return Ok(vec![main]);
    }
    if behind < 0 || axis < 0 || a > 64 {
        return Err("its axis does not fit its inputs".into());
    }
    let right = right.clone();
    let wide = raising.name(&stem(&main));
    let mut unsqueeze = node("Unsqueeze", &[&right], &[&wide]);
    unsqueeze.set_attribute("axes", Attribute::Ints((b..b + behind).collect()));
    main.input[1] = wide;
    Ok(vec![unsqueeze, main])
}

pub fn gemm(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    take(&mut node, "broadcast");
    Ok(vec![node])
}

pub fn test_mode(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    take(&mut node, "consumed_inputs");
    take(&mut node, "is_test");
    Ok(vec![node])
}

pub fn upsample_names(_: &mut Raising, mut node: NodeProto) -> Rewritten {
    let mut scale = |name: &str| take(&mut node, name).and_then(|attribute| attribute.f);
    if let (Some(height), Some(width)) = (scale("height_scale"), scale("width_scale")) {
        node.set_attribute("scales", Attribute::Floats(vec![1.0, 1.0, height, width]));
    }
    Ok(vec![node])
}

pub fn scan(_: &mut Raising, _: NodeProto) -> Rewritten {
    Err("the first version of Scan has a batch axis of its own".into())
}

/// Statistics for each element, not each channel, exist no longer.
pub fn spatial(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let per_element = take(&mut node, "spatial").and_then(|attribute| attribute.i) == Some(0);
    let flat = node.input_name(0).and_then(|name| raising.inferred.rank(name)).is_some_and(|rank| rank <= 2);
    if per_element && !flat { Err("it normalises each element by itself".into()) } else { Ok(vec![node]) }
}

pub fn upsample_input(raising: &mut Raising, mut node: NodeProto) -> Rewritten {
    let scales = take(&mut node, "scales").ok_or("it has no scales")?.floats;
    let (constant, name) = raising.constant(&stem(&node), &Tensor::from_f32(&[scales.len()], &scales));
    set_input(&mut node, 1, name);
    Ok(vec![constant, node])
}

/// α · x + β
pub fn affine(raising: &mut Raising, main: NodeProto) -> Rewritten {
    let (input, output) = ends(&main)?;
    let (alpha, a) = raising.scalar_like(&output, main.float("alpha").unwrap_or(1.0), &input)?;
    let (beta, b) = raising.scalar_like(&output, main.float("beta").unwrap_or(0.0), &input)?;
    let scaled = raising.name(&output);
    Ok(vec![alpha, beta, node("Mul", &[&input, &a], &[&scaled]), node("Add", &[&scaled, &b], &[&output])])
}

/// α · tanh(β · x) and α · softplus(β · x)
pub fn scaled_activation(raising: &mut Raising, main: NodeProto) -> Rewritten {
    let (input, output) = ends(&main)?;
    let operator = if main.op_type() == "ScaledTanh" { "Tanh" } else { "Softplus" };
    let missing = "it has no alpha and beta";
    let (alpha, a) = raising.scalar_like(&output, main.float("alpha").ok_or(missing)?, &input)?;
    let (beta, b) = raising.scalar_like(&output, main.float("beta").ok_or(missing)?, &input)?;
    let (scaled, activated) = (raising.name(&output), raising.name(&output));
    Ok(vec![
        alpha,
        beta,
        node("Mul", &[&input, &b], &[&scaled]),
        node(operator, &[&scaled], &[&activated]),
        node("Mul", &[&activated, &a], &[&output]),
    ])
}

/// scale · x + bias, one bias a channel
pub fn image_scaler(raising: &mut Raising, main: NodeProto) -> Rewritten {
    let (input, output) = ends(&main)?;
    let bias = main.find_attribute("bias").map(|attribute| attribute.floats.clone()).ok_or("it has no bias")?;
    let (scale, s) = raising.scalar_like(&output, main.float("scale").unwrap_or(1.0), &input)?;
    let (bias, b) = raising.constant(&output, &Tensor::from_f32(&[bias.len(), 1, 1], &bias));
    let scaled = raising.name(&output);
    Ok(vec![scale, bias, node("Mul", &[&input, &s], &[&scaled]), node("Add", &[&scaled, &b], &[&output])])
}

/// A slice of the last two axes.
pub fn crop(raising: &mut Raising, main: NodeProto) -> Rewritten {
    let (input, output) = ends(&main)?;
    let Some([left, top, right, bottom]) = main.ints("border") else {
        return Err("its border does not have 4 sizes".into());
    };
    let end = |border: i64| if border == 0 { i64::MAX } else { -border };
    let ends = match main.ints("scale") {
        Some([height, width]) => [top.saturating_add(*height), left.saturating_add(*width)],
        _ => [end(*bottom), end(*right)],
    };
    let (starts, s) = raising.integers(&output, &[*top, *left]);
    let (ends, e) = raising.integers(&output, &ends);
    let (axes, a) = raising.integers(&output, &[2, 3]);
    Ok(vec![starts, ends, axes, node("Slice", &[&input, &s, &e, &a], &[&output])])
}
