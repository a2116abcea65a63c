use secateur::onnx::attribute::Attribute;
use secateur::onnx::dtype::DataType;

use crate::case::Precision::{Double, Linear};
use crate::case::{Case, ints, list, numbers};

pub fn cases() -> Vec<Case> {
    let x: (&str, &[usize], Vec<f64>) = ("x", &[2, 1, 6], numbers(1, 12));
    let inputs = [x];
    let with_list = |operator: &str, values: &[i64]| {
        Case::new(format!("{operator}: {values:?}"), Double, &inputs, |b, i| {
            let values = list(b, values);
            vec![b.node(operator, &[i[0], &values], &[])]
        })
    };
    let images = |operator: &str, shape: &[usize], mode: Option<&str>| {
        let mut attributes = vec![("blocksize", Attribute::Int(2))];
        attributes.extend(mode.map(|mode| ("mode", Attribute::String(mode.into()))));
        Case::unary(operator, &format!("{mode:?}"), Linear, shape, numbers(2, shape.iter().product()), &attributes)
    };
    vec![
        Case::unary("Identity", "generic", Double, &[3], numbers(3, 3), &[]),
        Case::unary("Flatten", "axis 2", Double, &[2, 3, 2], numbers(4, 12), &[("axis", Attribute::Int(2))]),
        Case::unary("Transpose", "three axes", Double, &[2, 3, 2], numbers(5, 12), &[("perm", ints(&[2, 0, 1]))]),
        Case::unary("Transpose", "by default", Double, &[2, 3], numbers(6, 6), &[]),
        with_list("Reshape", &[0, -1, 2]),
        with_list("Squeeze", &[1]),
        with_list("Unsqueeze", &[0, -1]),
        with_list("Expand", &[3, 1, 4, 6]),
        images("DepthToSpace", &[1, 8, 2, 2], None),
        images("DepthToSpace", &[1, 8, 2, 2], Some("CRD")),
        images("SpaceToDepth", &[1, 2, 4, 4], None),
        Case::new("Cast: to single precision and back", Linear, &[("x", &[4], numbers(7, 4))], |b, i| {
            let double = b.node("Cast", &[i[0]], &[("to", Attribute::Int(i64::from(DataType::Double.number())))]);
            vec![b.node("Cast", &[&double], &[("to", Attribute::Int(i64::from(DataType::Float.number())))])]
        }),
    ]
}
