//! Pooling: a maximum gives its gradient to the element that was taken, a mean to all elements of its window.

use super::window::Window;
use super::{Gradients, NoGradient, Rule, Step, conv_input};
use crate::autodiff::emit::Value;
use crate::onnx::attribute::Attribute;

pub const RULES: &[(&str, Rule)] = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("GlobalAveragePool", global_average_pool),
    ("GlobalMaxPool", global_max_pool),
];

/// dx\[i] = Σ of dy over the windows whose maximum was element i. Of equal elements the first is the maximum, as in PyTorch.
///
/// Works from the `Indices` output, which [`crate::autodiff::forward`] asks every pool for: positions in the whole
/// flattened input, so that overlap, padding and dilation need no thought.
fn max_pool(step: &mut Step) -> Gradients {
    let (x, y, indices, dy) = (step.x(0)?, step.y(0)?, step.y(1)?, step.dy()?);
    if step.node.int("storage_order").unwrap_or(0) != 0 {
        return Err(NoGradient("counts its indices column by column".into()));
    }
    let zeros = step.emit.zeros(x.dtype, &[x.len()]);
    let positions = step.emit.reshape(&indices, &[y.len()]);
    let values = step.emit.reshape(&dy, &[y.len()]);
    let attributes = [("axis", Attribute::Int(0)), ("reduction", Attribute::String("add".into()))];
    let flat = step.emit.node("ScatterElements", &[&zeros, &positions, &values], &attributes, x.dtype, &[x.len()]);
    Step::only(step.emit.reshape(&flat, &x.shape))
}

/// The transpose of a depthwise convolution with ones, after dy was divided by the number of elements in each window.
fn average_pool(step: &mut Step) -> Gradients {
    let (x, y, dy) = (step.x(0)?, step.y(0)?, step.dy()?);
    if x.rank() < 3 {
        return Err(NoGradient(format!("pools {:?}", x.shape)));
    }
    let kernel: Vec<usize> = step.node.ints("kernel_shape").unwrap_or(&[]).iter().map(|size| *size as usize).collect();
    let window = Window::new(step.node, &kernel, &x.shape[2..], &y.shape[2..])?;
    let weights = shares(step, &window);
    if window.output_len() == 1 && window.before.iter().chain(&window.after).all(|count| *count == 0) {
        return Step::only(spread_evenly(step, &x, &dy, weights[0]));
    }
    let shares = step.emit.floats(&dy, &[&[1, 1], window.output.as_slice()].concat(), &weights);
    let dy = step.emit.mul(&dy, &shares);
    let channels = x.shape[1];
    let ones = vec![1.0; channels * window.kernel_len()];
    let kernel = step.emit.floats(&dy, &[&[channels, 1], window.kernel.as_slice()].concat(), &ones);
    Step::only(conv_input::gradient(step.emit, &dy, &kernel, channels, &window))
}

/// 1 ÷ the number of elements that the mean of each output position is taken over.
///
/// Padding counts where `count_include_pad` says so, but what `ceil_mode` adds behind the padding never does.
fn shares(step: &Step, window: &Window) -> Vec<f64> {
    let with_padding = step.node.int("count_include_pad").unwrap_or(0) != 0;
    let padding_after: Vec<i64> = (0..window.axes())
        .map(|axis| match step.node.text("auto_pad") {
            Some("SAME_UPPER" | "SAME_LOWER") => window.after[axis],
            _ => step.node.ints("pads").and_then(|pads| pads.get(axis + window.axes())).copied().unwrap_or(0),
        })
        .collect();
    let count = |axis: usize, position: usize| -> i64 {
        let (first, last) = if with_padding {
            (-window.before[axis], window.input[axis] as i64 + padding_after[axis])
        } else {
            (0, window.input[axis] as i64)
        };
        let start = (position * window.strides[axis]) as i64 - window.before[axis];
        let inside = |at: &usize| (first..last).contains(&(start + (at * window.dilations[axis]) as i64));
        (0..window.kernel[axis]).filter(inside).count().max(1) as i64
    };
    let mut counts = vec![1_i64];
    for axis in 0..window.axes() {
        counts = counts
            .iter()
            .flat_map(|head| (0..window.output[axis]).map(move |position| (*head, position)))
            .map(|(head, position)| head * count(axis, position))
            .collect();
    }
    counts.into_iter().map(|count| 1.0 / count as f64).collect()
}

fn global_average_pool(step: &mut Step) -> Gradients {
    let (x, dy) = (step.x(0)?, step.dy()?);
    let elements: usize = x.shape[2..].iter().product();
    Step::only(spread_evenly(step, &x, &dy, 1.0 / elements as f64))
}

fn spread_evenly(step: &mut Step, x: &Value, dy: &Value, share: f64) -> Value {
    let shared = step.emit.scale(dy, share);
    step.emit.expand(&shared, &x.shape)
}

/// Equal maxima share the gradient, as in PyTorch's `amax`.
fn global_max_pool(step: &mut Step) -> Gradients {
    let (x, y, dy) = (step.x(0)?, step.y(0)?, step.dy()?);
    let axes: Vec<usize> = (2..x.rank()).collect();
    Step::only(super::reduce::to_extremes(step.emit, &x, &y, &dy, &axes))
}
