use secateur::onnx::attribute::Attribute;

use crate::case::Case;
use crate::case::Precision::Double;
use crate::case::numbers;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for operator in ["Softmax", "LogSoftmax"] {
        for axis in [-1, 1, 0] {
            let attributes = [("axis", Attribute::Int(axis))];
            cases.push(Case::unary(operator, &format!("axis {axis}"), Double, &[2, 3, 2], numbers(1, 12), &attributes));
        }
    }
    cases
}
