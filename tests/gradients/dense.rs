use secateur::onnx::attribute::Attribute;

use crate::case::Case;
use crate::case::Precision::Double;
use crate::case::numbers;

pub fn cases() -> Vec<Case> {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let mut cases = Vec::new();
    for (transposed_a, transposed_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let a: &[usize] = if transposed_a { &[4, 2] } else { &[2, 4] };
        let b: &[usize] = if transposed_b { &[3, 4] } else { &[4, 3] };
        for c in [&[3][..], &[2, 1], &[2, 3], &[]] {
            cases.push(Case::new(
                format!("Gemm: transposed {transposed_a} {transposed_b}, c {c:?}"),
                Double,
                &[("a", a, numbers(1, 8)), ("b", b, numbers(2, 12)), ("c", c, numbers(3, count(c)))],
                |g, i| {
                    let attributes = [
                        ("alpha", Attribute::Float(0.5)),
                        ("beta", Attribute::Float(2.0)),
                        ("transA", Attribute::Int(i64::from(transposed_a))),
                        ("transB", Attribute::Int(i64::from(transposed_b))),
                    ];
                    vec![g.node("Gemm", i, &attributes)]
                },
            ));
        }
    }
    let products: [(&[usize], &[usize]); 9] = [
        (&[2, 3], &[3, 4]),
        (&[2, 2, 3], &[3, 2]),
        (&[2, 2, 2, 3], &[2, 2, 3, 2]),
        (&[2, 1, 2, 3], &[4, 3, 2]),
        (&[2, 3], &[2, 3, 2]),
        (&[3], &[3]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3]),
        (&[3], &[2, 3, 2]),
    ];
    for (a, b) in products {
        cases.push(Case::new(
            format!("MatMul: {a:?} by {b:?}"),
            Double,
            &[("a", a, numbers(4, count(a))), ("b", b, numbers(5, count(b)))],
            |g, i| vec![g.node("MatMul", i, &[])],
        ));
    }
    cases
}
