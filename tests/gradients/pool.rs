use secateur::onnx::attribute::Attribute;

use crate::case::Precision::{Double, Kink, Linear, Piecewise};
use crate::case::{Case, apart, ints, numbers};

type Attributes = Vec<(&'static str, Attribute)>;

pub fn cases() -> Vec<Case> {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let mut cases = Vec::new();
    for (shape, attributes) in windows() {
        cases.push(Case::unary(
            "MaxPool",
            &format!("{shape:?} {attributes:?}"),
            Piecewise,
            shape,
            apart(1, count(shape)),
            &attributes,
        ));
        // The fourth window has dilations, which averages have only from operator set 19.
        if attributes.iter().all(|(name, _)| *name != "dilations") {
            cases.push(Case::unary(
                "AveragePool",
                &format!("{shape:?} {attributes:?}"),
                Linear,
                shape,
                numbers(2, count(shape)),
                &attributes,
            ));
            let mut counting = attributes.clone();
            counting.push(("count_include_pad", Attribute::Int(1)));
            cases.push(Case::unary(
                "AveragePool",
                &format!("{shape:?} {counting:?}"),
                Linear,
                shape,
                numbers(3, count(shape)),
                &counting,
            ));
        }
    }
    cases.push(Case::unary(
        "MaxPool",
        "equal values",
        Kink,
        &[1, 1, 2, 4],
        vec![0.5, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0],
        &windows()[0].1,
    ));
    cases.push(Case::unary("GlobalAveragePool", "generic", Linear, &[2, 3, 2, 3], numbers(4, 36), &[]));
    cases.push(Case::unary("GlobalMaxPool", "generic", Piecewise, &[2, 2, 2, 3], apart(5, 24), &[]));
    cases.push(Case::unary("GlobalMaxPool", "equal values", Kink, &[1, 1, 4], vec![1.0, 0.0, 1.0, 0.5], &[]));
    cases.push(Case::unary("MaxPool", "double precision", Double, &[1, 2, 4, 4], apart(6, 32), &windows()[1].1));
    cases
}

/// Windows: without overlap, with overlap and padding, beyond the end, dilated, one axis, as large as the input.
fn windows() -> Vec<(&'static [usize], Attributes)> {
    vec![
        (&[1, 1, 2, 4], vec![("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))]),
        (
            &[1, 2, 5, 5],
            vec![("kernel_shape", ints(&[3, 3])), ("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))],
        ),
        (
            &[1, 1, 6, 5],
            vec![("kernel_shape", ints(&[3, 2])), ("strides", ints(&[2, 2])), ("ceil_mode", Attribute::Int(1))],
        ),
        (&[1, 1, 6, 6], vec![("kernel_shape", ints(&[2, 2])), ("dilations", ints(&[2, 2]))]),
        (&[2, 2, 7], vec![("kernel_shape", ints(&[3])), ("strides", ints(&[2])), ("pads", ints(&[1, 0]))]),
        (&[2, 2, 3, 3], vec![("kernel_shape", ints(&[3, 3]))]),
        (
            &[1, 1, 5, 5],
            vec![
                ("kernel_shape", ints(&[2, 2])),
                ("strides", ints(&[2, 2])),
                ("auto_pad", Attribute::String("SAME_UPPER".into())),
            ],
        ),
    ]
}

#[test]
fn of_equal_values_the_first_is_the_maximum() {
    let case =
        Case::unary("MaxPool", "", Kink, &[1, 1, 2, 4], vec![1.0, 1.0, 0.0, 2.0, 1.0, 1.0, 2.0, 2.0], &windows()[0].1);
    assert_eq!(case.gradients_of_the_sum()[0], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let case = Case::unary("GlobalMaxPool", "", Kink, &[1, 1, 4], vec![1.0, 0.0, 1.0, 0.5], &[]);
    assert_eq!(case.gradients_of_the_sum()[0], [0.5, 0.0, 0.5, 0.0]);
}
