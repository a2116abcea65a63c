use secateur::onnx::attribute::Attribute;
use secateur::onnx::tensor::Tensor;

use crate::case::Precision::{Double, Linear};
use crate::case::{Case, list, numbers};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "Concat: middle axis, an operand twice",
            Double,
            &[("a", &[2, 3, 2], numbers(1, 12)), ("b", &[2, 1, 2], numbers(2, 4))],
            |b, i| vec![b.node("Concat", &[i[0], i[1], i[0]], &[("axis", Attribute::Int(-2))])],
        ),
        Case::new("Split: uneven parts", Double, &[("x", &[2, 6], numbers(3, 12))], |b, i| {
            let sizes = list(b, &[1, 3, 2]);
            b.nodes("Split", &[i[0], &sizes], &[("axis", Attribute::Int(1))], 3)
        }),
        Case::new("Split: a part that nobody uses", Double, &[("x", &[4], numbers(4, 4))], |b, i| {
            let parts = b.nodes("Split", &[i[0]], &[("num_outputs", Attribute::Int(2))], 2);
            vec![parts[1].clone()]
        }),
    ];
    // Starts, ends, axes and steps on an input of 3 by 7.
    let slices: [(&str, [&[i64]; 4]); 7] = [
        ("from the middle", [&[1, 2], &[3, 5], &[0, 1], &[1, 1]]),
        ("every second", [&[0], &[i64::MAX], &[1], &[2]]),
        ("every third from 1", [&[1], &[7], &[-1], &[3]]),
        ("both axes stepped", [&[0, 1], &[3, 6], &[0, 1], &[2, 2]]),
        ("backwards", [&[-1], &[i64::MIN], &[1], &[-1]]),
        ("backwards by two", [&[5], &[0], &[1], &[-2]]),
        ("from the end", [&[-3], &[-1], &[1], &[1]]),
    ];
    for (note, [starts, ends, axes, steps]) in slices {
        cases.push(Case::new(format!("Slice: {note}"), Double, &[("x", &[3, 7], numbers(5, 21))], |b, i| {
            let (starts, ends, axes, steps) = (list(b, starts), list(b, ends), list(b, axes), list(b, steps));
            vec![b.node("Slice", &[i[0], &starts, &ends, &axes, &steps], &[])]
        }));
    }
    cases.push(Case::new("Slice: without axes and steps", Double, &[("x", &[3, 4], numbers(6, 12))], |b, i| {
        let (starts, ends) = (list(b, &[1, 0]), list(b, &[2, 3]));
        vec![b.node("Slice", &[i[0], &starts, &ends], &[])]
    }));
    for (note, pads) in
        [("channels", [0, 2, 0, 0, 3, 0]), ("all axes", [1, 0, 2, 0, 1, 1]), ("cutting", [0, -1, 1, 0, 0, -1])]
    {
        cases.push(Case::new(format!("Pad: {note}"), Double, &[("x", &[2, 3, 2], numbers(7, 12))], |b, i| {
            let pads = list(b, &pads);
            vec![b.node("Pad", &[i[0], &pads], &[])]
        }));
    }
    cases.push(Case::new("Pad: with axes", Double, &[("x", &[2, 3], numbers(8, 6))], |b, i| {
        let (pads, axes) = (list(b, &[1, 2]), list(b, &[-1]));
        vec![b.node("Pad", &[i[0], &pads, "", &axes], &[])]
    }));
    for (note, axis, shape) in
        [("rows, one twice", 0, vec![3]), ("columns, as a matrix", 1, vec![2, 2]), ("one", -1, vec![])]
    {
        cases.push(Case::new(format!("Gather: {note}"), Linear, &[("x", &[3, 4], numbers(9, 12))], |b, i| {
            let picked = [2, 0, 2, 1][..shape.iter().product()].to_vec();
            let indices = b.constant(&Tensor::from_i64(&shape, &picked));
            vec![b.node("Gather", &[i[0], &indices], &[("axis", Attribute::Int(axis))])]
        }));
    }
    cases
}
