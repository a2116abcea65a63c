use secateur::onnx::attribute::Attribute;

use crate::case::Case;
use crate::case::Precision::{Curved, Double};
use crate::case::{apart, numbers, positive, tensor};

pub fn cases() -> Vec<Case> {
    let shapes = [(&[4, 3, 2, 2][..], Curved), (&[3, 2, 4], Curved), (&[8, 3], Curved), (&[4, 3, 2, 2], Double)];
    (shapes.into_iter())
        .flat_map(|(shape, precision)| {
            let (count, c): (usize, usize) = (shape.iter().product(), shape[1]);
            let spread = apart(1, count).into_iter().map(|v| v * 20.0 / count as f64 + 0.5).collect();
            let inputs = [("x", shape, spread), ("scale", &[c][..], positive(2, c)), ("bias", &[c][..], numbers(3, c))];
            let case = Case::new(format!("BatchNormalization: {shape:?} {precision:?}"), precision, &inputs, |b, i| {
                // While training the running statistics take no part, but without stored ones there is no training mode.
                let [mean, variance] =
                    [numbers(4, c), positive(5, c)].map(|values| b.constant(&tensor(precision.dtype(), &[c], &values)));
                let inputs = [i, &[&mean, &variance]].concat();
                vec![b.node("BatchNormalization", &inputs, &[("epsilon", Attribute::Float(1e-3))])]
            });
            [case.clone().inferring(), case]
        })
        .collect()
}
