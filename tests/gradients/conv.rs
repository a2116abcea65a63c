use secateur::onnx::attribute::Attribute;

use crate::case::Precision::Linear;
use crate::case::{Case, ints, numbers};

/// A convolution: sizes of x and w, strides, pads, dilations, groups.
struct Shape {
    x: &'static [usize],
    w: &'static [usize],
    strides: &'static [i64],
    pads: &'static [i64],
    dilations: &'static [i64],
    groups: i64,
}

const fn shape(
    x: &'static [usize],
    w: &'static [usize],
    [strides, pads, dilations]: [&'static [i64]; 3],
    groups: i64,
) -> Shape {
    Shape { x, w, strides, pads, dilations, groups }
}

const SHAPES: [Shape; 24] = [
    // 3 × 3, the shapes of residual networks
    shape(&[2, 3, 5, 5], &[4, 3, 3, 3], [&[1, 1], &[1, 1, 1, 1], &[1, 1]], 1),
    shape(&[2, 3, 6, 6], &[4, 3, 3, 3], [&[2, 2], &[1, 1, 1, 1], &[1, 1]], 1),
    shape(&[2, 3, 7, 5], &[2, 3, 3, 3], [&[2, 2], &[1, 1, 1, 1], &[1, 1]], 1),
    shape(&[1, 2, 8, 8], &[3, 2, 7, 7], [&[2, 2], &[3, 3, 3, 3], &[1, 1]], 1),
    // 1 × 1
    shape(&[2, 4, 3, 3], &[5, 4, 1, 1], [&[1, 1], &[0, 0, 0, 0], &[1, 1]], 1),
    shape(&[2, 4, 5, 5], &[3, 4, 1, 1], [&[2, 2], &[0, 0, 0, 0], &[1, 1]], 1),
    shape(&[1, 2, 4, 4], &[2, 2, 1, 1], [&[1, 1], &[1, 1, 1, 1], &[1, 1]], 1),
    // no padding, uneven padding, padding wider than the window
    shape(&[1, 2, 6, 5], &[3, 2, 3, 2], [&[1, 1], &[0, 0, 0, 0], &[1, 1]], 1),
    shape(&[1, 2, 5, 5], &[3, 2, 2, 2], [&[1, 1], &[0, 1, 1, 0], &[1, 1]], 1),
    shape(&[1, 2, 4, 4], &[2, 2, 2, 2], [&[1, 1], &[3, 2, 2, 3], &[1, 1]], 1),
    shape(&[1, 2, 4, 4], &[2, 2, 2, 2], [&[3, 2], &[3, 2, 2, 3], &[1, 1]], 1),
    // strides that leave elements out, strides wider than the window
    shape(&[1, 2, 8, 9], &[2, 2, 3, 3], [&[3, 2], &[0, 0, 0, 0], &[1, 1]], 1),
    shape(&[1, 2, 9, 9], &[2, 2, 2, 2], [&[4, 4], &[0, 0, 0, 0], &[1, 1]], 1),
    shape(&[1, 2, 7, 7], &[2, 2, 3, 3], [&[1, 2], &[1, 1, 1, 1], &[1, 1]], 1),
    // dilation
    shape(&[1, 2, 7, 7], &[2, 2, 3, 3], [&[1, 1], &[2, 2, 2, 2], &[2, 2]], 1),
    shape(&[1, 2, 9, 8], &[2, 2, 3, 3], [&[2, 2], &[1, 0, 2, 1], &[2, 3]], 1),
    // groups
    shape(&[2, 4, 5, 5], &[6, 2, 3, 3], [&[1, 1], &[1, 1, 1, 1], &[1, 1]], 2),
    shape(&[2, 6, 6, 5], &[3, 2, 3, 3], [&[2, 2], &[1, 1, 1, 1], &[1, 1]], 3),
    shape(&[2, 4, 5, 5], &[4, 1, 3, 3], [&[1, 1], &[1, 1, 1, 1], &[1, 1]], 4),
    shape(&[2, 4, 6, 5], &[4, 1, 3, 3], [&[2, 2], &[1, 1, 1, 1], &[1, 1]], 4),
    shape(&[1, 3, 5, 5], &[6, 1, 3, 3], [&[1, 1], &[1, 1, 1, 1], &[1, 1]], 3),
    // one spatial axis
    shape(&[2, 3, 7], &[4, 3, 3], [&[1], &[1, 1], &[1]], 1),
    shape(&[2, 4, 9], &[4, 2, 3], [&[2], &[2, 1], &[2]], 2),
    shape(&[2, 3, 8], &[3, 1, 5], [&[3], &[0, 2], &[1]], 3),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = SHAPES.iter().map(|shape| conv(shape, None, true)).collect();
    let odd = shape(&[1, 2, 6, 7], &[2, 2, 3, 2], [&[2, 3], &[], &[1, 1]], 1);
    for auto_pad in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        cases.push(conv(&odd, Some(auto_pad), false));
    }
    cases
}

fn conv(shape: &Shape, auto_pad: Option<&str>, bias: bool) -> Case {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let mut attributes = vec![("strides", ints(shape.strides)), ("dilations", ints(shape.dilations))];
    attributes.push(("group", Attribute::Int(shape.groups)));
    match auto_pad {
        Some(mode) => attributes.push(("auto_pad", Attribute::String(mode.into()))),
        None => attributes.push(("pads", ints(shape.pads))),
    }
    let m = shape.w[0];
    let mut inputs = vec![("x", shape.x, numbers(1, count(shape.x))), ("w", shape.w, numbers(2, count(shape.w)))];
    let bias_shape = [m];
    if bias {
        inputs.push(("b", &bias_shape, numbers(3, m)));
    }
    let name = format!(
        "Conv: {:?} by {:?}, strides {:?}, pads {:?} {auto_pad:?}, dilations {:?}, groups {}",
        shape.x, shape.w, shape.strides, shape.pads, shape.dilations, shape.groups
    );
    Case::new(name, Linear, &inputs, |b, i| vec![b.node("Conv", i, &attributes)])
}
