//! What a classifier's output means: which numbers score which class.

use super::EvaluateError;
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;

/// What the scores of a classifier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Any numbers, the larger the likelier; probabilities are their softmax.
    Logits,
    /// The model ends in Softmax or Sigmoid.
    Probabilities,
}

/// Finite scores of some samples, one row a sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scores {
    pub(super) classes: usize,
    pub(super) values: Vec<f32>,
}

/// What an output's scores are, told from the operator that they come out of; operators that only reshape or cast are
/// looked through.
pub(super) fn meaning(model: &Model, output: &str) -> Meaning {
    let graph = model.graph();
    let mut value = output;
    while let Some((index, _)) = graph.producer(value) {
        let node = graph.node(index);
        match node.op_type() {
            "Softmax" | "Sigmoid" => return Meaning::Probabilities,
            "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                let Some(input) = node.input.first() else { break };
                value = input;
            }
            _ => break,
        }
    }
    Meaning::Logits
}

/// The scores of the first `samples` rows of an output; the others are padding. Axes of size 1 behind the batch are
/// ignored. One score a sample is that of the second of two classes.
///
/// Errors: [`EvaluateError::NotScores`] for another shape or type, [`EvaluateError::NotFinite`] (with the row).
pub(super) fn read(
    output: &str,
    tensor: &Tensor,
    batch: usize,
    samples: usize,
    meaning: Meaning,
) -> Result<Scores, EvaluateError> {
    let not_scores = |reason: String| EvaluateError::NotScores { output: output.to_owned(), reason };
    let wide: Vec<usize> = tensor.shape.iter().skip(1).copied().filter(|size| *size != 1).collect();
    let classes = match (tensor.shape.first(), wide.as_slice()) {
        (Some(rows), []) if *rows == batch => 1,
        (Some(rows), [classes]) if *rows == batch && *classes > 0 => *classes,
        _ => {
            let shape = &tensor.shape;
            return Err(not_scores(format!("for {batch} samples it has the shape {shape:?}, not [{batch}, classes]")));
        }
    };
    let values = tensor.to_f32().map_err(|error| not_scores(error.to_string()))?;
    let values = &values[..samples * classes];
    if let Some(at) = values.iter().position(|value| !value.is_finite() && *value != f32::NEG_INFINITY) {
        return Err(EvaluateError::NotFinite { output: output.to_owned(), sample: at / classes });
    }
    Ok(match classes {
        1 => {
            let other = |value: f32| if meaning == Meaning::Probabilities { 1.0 - value } else { 0.0 };
            Scores { classes: 2, values: values.iter().flat_map(|value| [other(*value), *value]).collect() }
        }
        _ => Scores { classes, values: values.to_vec() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;

    fn ending_in(operators: &[&str]) -> (Model, String) {
        let mut b = GraphBuilder::new("net");
        let mut value = b.input("x", DataType::Float, &["n".into(), 3.into()]);
        for operator in operators {
            value = b.node(operator, &[&value], &[]);
        }
        b.output(&value, DataType::Float, &["n".into(), 3.into()]);
        (b.build(17), value)
    }

    #[test]
    fn softmax_and_sigmoid_give_probabilities_also_behind_a_reshape() {
        for (operators, expected) in [
            (&["Relu"][..], Meaning::Logits),
            (&["Softmax"], Meaning::Probabilities),
            (&["Softmax", "Relu"], Meaning::Logits),
            (&["Sigmoid", "Flatten", "Identity"], Meaning::Probabilities),
            (&["LogSoftmax"], Meaning::Logits),
            (&[], Meaning::Logits),
        ] {
            let (model, output) = ending_in(operators);
            assert_eq!(meaning(&model, &output), expected, "{operators:?}");
        }
    }

    #[test]
    fn rows_of_padding_and_axes_of_one_are_left_out() {
        let tensor = Tensor::from_f32(&[3, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
        let scores = read("y", &tensor, 3, 2, Meaning::Logits).unwrap();
        assert_eq!(scores, Scores { classes: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
        assert!(matches!(read("y", &tensor, 3, 3, Meaning::Logits), Err(EvaluateError::NotFinite { sample: 2, .. })));
        assert!(matches!(read("y", &tensor, 4, 2, Meaning::Logits), Err(EvaluateError::NotScores { .. })));
        let map = Tensor::from_f32(&[1, 2, 2], &[0.0; 4]);
        assert!(matches!(read("y", &map, 1, 1, Meaning::Logits), Err(EvaluateError::NotScores { .. })));
        let classes = Tensor::from_i64(&[1, 2], &[1, 2]);
        assert!(matches!(read("y", &classes, 1, 1, Meaning::Logits), Err(EvaluateError::NotScores { .. })));
    }

    #[test]
    fn one_score_a_sample_is_that_of_the_second_of_two_classes() {
        for shape in [&[2][..], &[2, 1]] {
            let tensor = Tensor::from_f32(shape, &[0.25, 0.75]);
            let scores = read("y", &tensor, 2, 2, Meaning::Probabilities).unwrap();
            assert_eq!(scores.values, [0.75, 0.25, 0.25, 0.75]);
            let scores = read("y", &tensor, 2, 2, Meaning::Logits).unwrap();
            assert_eq!(scores.values, [0.0, 0.25, 0.0, 0.75]);
        }
    }
}
