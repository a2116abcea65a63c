//! Gradient of a convolution's input: what each input element gave to the outputs, brought back.

use super::window::Window;
use crate::autodiff::emit::{Emitter, Value};
use crate::onnx::attribute::Attribute;

/// dx from dy and the weight.
///
/// Shapes: dy `[n, m, output…]`, w `[m, c / groups, kernel…]`; returns `[n, c, input…]`.
pub fn gradient(emit: &mut Emitter, dy: &Value, w: &Value, groups: usize, window: &Window) -> Value {
    if window.strides.iter().all(|stride| *stride == 1) {
        by_convolution(emit, dy, w, groups, window)
    } else {
        by_columns(emit, dy, w, groups, window)
    }
}

/// With stride 1 the gradient is itself a convolution, of dy with the weight turned around in space and its channel axes
/// exchanged. Faster than `ConvTranspose`, whose CPU kernel goes through a column buffer.
fn by_convolution(emit: &mut Emitter, dy: &Value, w: &Value, groups: usize, window: &Window) -> Value {
    let (m, c_in_group, kernel) = (w.shape[0], w.shape[1], window.kernel_len());
    let split = emit.reshape(w, &[groups, m / groups, c_in_group, kernel]);
    let exchanged = emit.transpose(&split, &[0, 2, 1, 3]);
    let turned = if kernel == 1 {
        exchanged
    } else {
        let backwards: Vec<i64> = (0..kernel as i64).rev().collect();
        emit.gather(&exchanged, 3, &backwards)
    };
    let mut shape = vec![groups * c_in_group, m / groups];
    shape.extend(&window.kernel);
    let filter = emit.reshape(&turned, &shape);

    // Of dy the border is missing that windows over the padded input had; where the padding was wider than the window,
    // the outermost dy saw nothing but zeros and is cut off.
    let (mut cut_before, mut cut_after) = (vec![0; dy.rank()], vec![0; dy.rank()]);
    let (mut pads_before, mut pads_after) = (Vec::new(), Vec::new());
    for axis in 0..window.axes() {
        let before = window.span(axis) as i64 - window.before[axis];
        let after = window.span(axis) as i64 - window.after[axis];
        cut_before[axis + 2] = before.min(0);
        cut_after[axis + 2] = after.min(0);
        pads_before.push(before.max(0));
        pads_after.push(after.max(0));
    }
    let seen = emit.pad(dy, &cut_before, &cut_after);
    let mut shape = vec![dy.shape[0], groups * c_in_group];
    shape.extend(&window.input);
    let attributes = [
        ("kernel_shape", integers(&window.kernel)),
        ("dilations", integers(&window.dilations)),
        ("group", Attribute::Int(groups as i64)),
        ("pads", Attribute::Ints([pads_before, pads_after].concat())),
    ];
    emit.node("Conv", &[&seen, &filter], &attributes, dy.dtype, &shape)
}

/// With larger strides: the columns of all windows by one matrix product, added up by `Col2Im`.
fn by_columns(emit: &mut Emitter, dy: &Value, w: &Value, groups: usize, window: &Window) -> Value {
    let (n, m, c_in_group) = (dy.shape[0], w.shape[0], w.shape[1]);
    let (kernel, positions) = (window.kernel_len(), window.output_len());
    let rows = emit.reshape(w, &[groups, m / groups, c_in_group * kernel]);
    let across = emit.transpose(&rows, &[0, 2, 1]);
    let dy = emit.reshape(dy, &[n, groups, m / groups, positions]);
    let columns = emit.matmul(&across, &dy);
    let columns = emit.reshape(&columns, &[n, groups * c_in_group * kernel, positions]);

    // A single spatial axis is handled as an image of one row: the kernel for other than two axes goes wrong on dilations.
    let row = window.axes() == 1;
    let flat = |ahead: i64, sizes: &[i64]| if row { [&[ahead], sizes].concat() } else { sizes.to_vec() };
    let signed = |sizes: &[usize]| sizes.iter().map(|size| *size as i64).collect::<Vec<_>>();
    let after: Vec<i64> = window.after.iter().map(|count| (*count).max(0)).collect();
    let image = emit.integers(&flat(1, &signed(&window.input)));
    let block = emit.integers(&flat(1, &signed(&window.kernel)));
    let attributes = [
        ("strides", Attribute::Ints(flat(1, &signed(&window.strides)))),
        ("dilations", Attribute::Ints(flat(1, &signed(&window.dilations)))),
        ("pads", Attribute::Ints([flat(0, &window.before), flat(0, &after)].concat())),
    ];
    let mut shape = vec![n, groups * c_in_group];
    shape.extend(row.then_some(1));
    shape.extend(&window.input);
    let image = emit.node("Col2Im", &[&columns, &image, &block], &attributes, dy.dtype, &shape);
    if row { emit.reshape(&image, &[shape[0], shape[1], shape[3]]) } else { image }
}

fn integers(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|value| *value as i64).collect())
}
