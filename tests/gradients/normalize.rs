use secateur::onnx::attribute::Attribute;

use crate::case::Case;
use crate::case::Precision::{Curved, Double};
use crate::case::{apart, numbers, positive};

pub fn cases() -> Vec<Case> {
    [(&[4, 3, 2, 2][..], Curved), (&[3, 2, 4], Curved), (&[8, 3], Curved), (&[4, 3, 2, 2], Double)]
        .into_iter()
        .map(|(shape, precision)| {
            let (count, c): (usize, usize) = (shape.iter().product(), shape[1]);
            let spread = apart(1, count).into_iter().map(|v| v * 20.0 / count as f64 + 0.5).collect();
            let inputs = [
                ("x", shape, spread),
                ("scale", &[c][..], positive(2, c)),
                ("bias", &[c][..], numbers(3, c)),
                ("mean", &[c][..], numbers(4, c)),
                ("variance", &[c][..], positive(5, c)),
            ];
            let mut case =
                Case::new(format!("BatchNormalization: {shape:?} {precision:?}"), precision, &inputs, |b, i| {
                    vec![b.node("BatchNormalization", i, &[("epsilon", Attribute::Float(1e-3))])]
                });
            // The running statistics take no part.
            case.inputs[3].wanted = false;
            case.inputs[4].wanted = false;
            case
        })
        .collect()
}
