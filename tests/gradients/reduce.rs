use secateur::onnx::attribute::Attribute;

use crate::case::Precision::{Double, Kink, Piecewise};
use crate::case::{Case, Precision, apart, list, positive};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for operator in ["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "ReduceLogSumExp"] {
        for (axes, keep) in [(Some(&[1][..]), true), (Some(&[0, -1]), false), (None, false), (Some(&[]), true)] {
            cases.push(reduce(operator, axes, keep, Double, positive(1, 12)));
        }
    }
    for operator in ["ReduceMax", "ReduceMin", "ReduceL1"] {
        cases.push(reduce(operator, Some(&[1]), true, Piecewise, apart(2, 12)));
        cases.push(reduce(operator, Some(&[0, 2]), false, Piecewise, apart(3, 12)));
    }
    cases.push(reduce(
        "ReduceMax",
        Some(&[1]),
        true,
        Kink,
        vec![1.0, 0.0, 1.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ));
    cases.push(Case::new("ReduceSum: nothing to reduce", Double, &[("x", &[3], positive(4, 3))], |b, i| {
        let axes = list(b, &[]);
        vec![b.node("ReduceSum", &[i[0], &axes], &[("noop_with_empty_axes", Attribute::Int(1))])]
    }));
    cases
}

fn reduce(operator: &str, axes: Option<&[i64]>, keep: bool, precision: Precision, values: Vec<f64>) -> Case {
    Case::new(format!("{operator}: {axes:?}, kept {keep}"), precision, &[("x", &[2, 3, 2], values)], |b, i| {
        let keep = [("keepdims", Attribute::Int(i64::from(keep)))];
        match axes {
            Some(axes) => {
                let axes = list(b, axes);
                vec![b.node(operator, &[i[0], &axes], &keep)]
            }
            None => vec![b.node(operator, &[i[0]], &keep)],
        }
    })
}
