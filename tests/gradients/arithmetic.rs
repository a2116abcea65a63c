use secateur::onnx::dtype::DataType;
use secateur::onnx::tensor::Tensor;

use crate::case::Precision::{Double, Linear};
use crate::case::{Case, numbers, positive};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for operator in ["Add", "Sub", "Mul", "Div", "Pow"] {
        for (a, b) in
            [(vec![2, 3], vec![2, 3]), (vec![2, 3, 4], vec![3, 1]), (vec![1, 4], vec![3, 1]), (vec![2, 2], vec![])]
        {
            cases.push(binary(operator, &a, &b));
        }
    }
    for operator in ["Sum", "Mean"] {
        cases.push(Case::new(
            format!("{operator}: three operands"),
            Linear,
            &[("a", &[2, 3], numbers(1, 6)), ("b", &[3], numbers(2, 3)), ("c", &[2, 1], numbers(3, 2))],
            |b, i| vec![b.node(operator, i, &[])],
        ));
    }
    for operator in ["Neg", "Reciprocal", "Sqrt", "Exp", "Log"] {
        cases.push(Case::unary(operator, "generic", Double, &[2, 3], positive(4, 6), &[]));
    }
    for exponent in [2.0_f32, 3.0, 0.5] {
        cases.push(Case::new(format!("Pow: constant {exponent}"), Double, &[("x", &[4], positive(5, 4))], |b, i| {
            let exponent = b.constant(&Tensor::from_f32(&[], &[exponent]));
            vec![b.node("Pow", &[i[0], &exponent], &[])]
        }));
    }
    cases.push(Case::new(
        "Where: broadcast",
        Double,
        &[("a", &[2, 3], numbers(6, 6)), ("b", &[3], numbers(7, 3))],
        |b, i| {
            let condition = Tensor::from_bytes(DataType::Bool, &[2, 1], vec![1, 0].into()).unwrap();
            let condition = b.constant(&condition);
            vec![b.node("Where", &[&condition, i[0], i[1]], &[])]
        },
    ));
    cases.push(Case::new("a value with several users", Double, &[("x", &[3], positive(8, 3))], |b, i| {
        let root = b.node("Sqrt", &[i[0]], &[]);
        let square = b.node("Mul", &[&root, i[0]], &[]);
        let sum = b.node("Add", &[&square, &root], &[]);
        vec![b.node("Add", &[&sum, i[0]], &[]), root]
    }));
    cases
}

fn binary(operator: &str, a: &[usize], b: &[usize]) -> Case {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let mut case = Case::new(
        format!("{operator}: {a:?} with {b:?}"),
        Double,
        &[("a", a, positive(1, count(a))), ("b", b, positive(2, count(b)))],
        |g, i| vec![g.node(operator, &[i[0], i[1]], &[])],
    );
    if operator == "Pow" {
        case.inputs[1].wanted = false;
    }
    case
}
