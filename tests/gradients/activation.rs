use secateur::onnx::attribute::Attribute;
use secateur::onnx::tensor::Tensor;

use crate::case::Precision::{Curved, Double, Kink, Piecewise};
use crate::case::{Case, apart, numbers};

pub fn cases() -> Vec<Case> {
    let shape = [3, 4];
    let wide = || apart(1, 12).into_iter().map(|v| v * 8.0).collect::<Vec<_>>();
    let ties = || vec![0.0, 0.0, 0.5, -0.5];
    let unary = |operator: &str, precision, values: Vec<f64>, attributes: &[(&str, Attribute)]| {
        let shape: &[usize] = if values.len() == 12 { &shape } else { &[4] };
        Case::unary(
            operator,
            if values.len() == 12 { "generic" } else { "at its kinks" },
            precision,
            shape,
            values,
            attributes,
        )
    };
    let alpha = |value: f32| [("alpha", Attribute::Float(value))];
    vec![
        unary("Relu", Piecewise, apart(1, 12), &[]),
        unary("Relu", Kink, ties(), &[]),
        unary("LeakyRelu", Piecewise, apart(2, 12), &alpha(0.2)),
        unary("LeakyRelu", Kink, ties(), &alpha(0.2)),
        unary("Sigmoid", Double, numbers(3, 12), &[]),
        unary("Tanh", Double, numbers(4, 12), &[]),
        unary("HardSigmoid", Piecewise, wide(), &[]),
        unary("HardSigmoid", Kink, vec![-2.5, 2.5, 0.0, 1.0], &[]),
        unary("HardSwish", Curved, wide(), &[]),
        unary("Softplus", Curved, numbers(5, 12), &[]),
        unary("Elu", Curved, apart(6, 12), &alpha(0.7)),
        unary("Erf", Curved, numbers(7, 12), &[]),
        unary("Abs", Piecewise, apart(8, 12), &[]),
        unary("Abs", Kink, ties(), &[]),
        gelu(None),
        gelu(Some("tanh")),
        clip(Some(-0.25), Some(0.25), Piecewise, apart(9, 12)),
        clip(None, Some(0.2), Piecewise, apart(10, 12)),
        clip(Some(0.0), Some(0.5), Kink, vec![0.0, 0.5, 0.25, -1.0]),
        Case::new(
            "PRelu: slope per channel",
            Piecewise,
            &[("x", &[2, 3, 2], apart(11, 12)), ("s", &[3, 1], numbers(12, 3))],
            |b, i| vec![b.node("PRelu", &[i[0], i[1]], &[])],
        ),
        Case::new("Swish of Sigmoid and Mul", Double, &[("x", &[2, 3], numbers(13, 6))], |b, i| {
            let gate = b.node("Sigmoid", &[i[0]], &[]);
            vec![b.node("Mul", &[i[0], &gate], &[])]
        }),
    ]
}

fn gelu(approximate: Option<&str>) -> Case {
    let values = numbers(20, 6).into_iter().map(|v| v * 2.0).collect();
    Case::new(format!("Gelu: {approximate:?}"), Curved, &[("x", &[6], values)], |b, i| {
        let attributes: Vec<_> =
            approximate.iter().map(|name| ("approximate", Attribute::String((*name).into()))).collect();
        let output = b.fresh("gelu");
        b.raw_node("", "Gelu", &[i[0]], &attributes, std::slice::from_ref(&output));
        vec![output]
    })
    .at_opset(20)
}

fn clip(minimum: Option<f32>, maximum: Option<f32>, precision: crate::case::Precision, values: Vec<f64>) -> Case {
    let count = values.len();
    Case::new(format!("Clip: {minimum:?} to {maximum:?}"), precision, &[("x", &[count], values)], |b, i| {
        let mut bound = |value: Option<f32>| value.map_or(String::new(), |v| b.constant(&Tensor::from_f32(&[], &[v])));
        let (low, high) = (bound(minimum), bound(maximum));
        vec![b.node("Clip", &[i[0], &low, &high], &[])]
    })
}

#[test]
fn at_a_kink_the_gradient_is_that_of_pytorch() {
    let at = |operator: &str, values: Vec<f64>| {
        Case::unary(operator, "", Kink, &[values.len()], values, &[]).gradients_of_the_sum().remove(0)
    };
    assert_eq!(at("Relu", vec![0.0, -0.0, 1.0]), [0.0, 0.0, 1.0]);
    assert_eq!(at("Abs", vec![0.0, -2.0, 1.0]), [0.0, -1.0, 1.0]);
    assert_eq!(clip(Some(0.0), Some(6.0), Kink, vec![0.0, 6.0, 3.0]).gradients_of_the_sum().remove(0), [0.0, 0.0, 1.0]);
}
