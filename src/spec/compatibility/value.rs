//! Shapes and element types of a model's values against those of samples and of other models.

use crate::spec::summary::{Axis, ModelSummary, ValueSummary};

/// The output of that name, or the first.
pub(super) fn scored_output<'a>(model: &'a ModelSummary, name: Option<&str>) -> Option<&'a ValueSummary> {
    match name {
        Some(name) => model.outputs.iter().find(|output| output.name == name),
        None => model.outputs.first(),
    }
}

/// What an output scores, by its shape.
pub(super) enum Scored {
    /// So many classes.
    Classes(u64),
    /// More than one score a class, or none.
    Otherwise,
    Unknown,
}

/// Reads the shape of an output as the evaluation does: the first axis is the batch, other axes of size 1 do not count,
/// and a single score is that of the second of two classes.
pub(super) fn scores_of(output: &ValueSummary) -> Scored {
    let Some(shape) = &output.shape else { return Scored::Unknown };
    let Some((_batch, rest)) = shape.split_first() else { return Scored::Otherwise };
    let wide: Vec<&Axis> = rest.iter().filter(|axis| **axis != Axis::Size(1)).collect();
    match wide.as_slice() {
        [] => Scored::Classes(2),
        [Axis::Size(classes)] => Scored::Classes(*classes),
        several if several.iter().all(|axis| matches!(axis, Axis::Size(_))) => Scored::Otherwise,
        _ => Scored::Unknown,
    }
}

/// Whether a batch of samples of this shape can be fed to the input.
pub(super) fn shape_fits(input: &ValueSummary, sample: &[u64]) -> bool {
    let Some(shape) = &input.shape else { return true };
    shape.len() == sample.len() + 1 && shape[1..].iter().zip(sample).all(|(axis, size)| axis_fits(axis, *size))
}

fn axis_fits(axis: &Axis, size: u64) -> bool {
    match axis {
        Axis::Size(fixed) => *fixed == size,
        Axis::Symbol(_) | Axis::Unknown => true,
    }
}

/// Whether two values can have the same shape, the batch aside.
pub(super) fn samples_agree(left: &ValueSummary, right: &ValueSummary) -> bool {
    let (Some(left), Some(right)) = (&left.shape, &right.shape) else { return true };
    left.len() == right.len()
        && left.iter().zip(right).skip(1).all(|pair| match pair {
            (Axis::Size(left), Axis::Size(right)) => left == right,
            _ => true,
        })
}

pub(super) fn shape_message(input: &ValueSummary, array: &str, sample: &[u64]) -> String {
    let sample = sample.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "a sample of `{array}` has the shape [{sample}], but the model's input `{}` is {}",
        input.name,
        describe(input)
    )
}

pub(super) fn describe(value: &ValueSummary) -> String {
    let Some(shape) = &value.shape else { return format!("{} of unknown rank", value.dtype) };
    let axes = shape.iter().map(|axis| match axis {
        Axis::Size(size) => size.to_string(),
        Axis::Symbol(name) => name.clone(),
        Axis::Unknown => "?".into(),
    });
    format!("{} [{}]", value.dtype, axes.collect::<Vec<_>>().join(", "))
}

pub(super) enum NumberKind {
    Float,
    Integer,
    Bool,
}

pub(super) fn kind_of_numpy(dtype: &str) -> Option<NumberKind> {
    match dtype {
        "bool" => Some(NumberKind::Bool),
        _ if dtype.starts_with("float") => Some(NumberKind::Float),
        _ if dtype.starts_with("int") || dtype.starts_with("uint") => Some(NumberKind::Integer),
        _ => None,
    }
}

pub(super) fn is_float(onnx: &str) -> bool {
    matches!(onnx, "float" | "double" | "float16" | "bfloat16")
}

pub(super) fn is_integer(onnx: &str) -> bool {
    matches!(onnx, "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64")
}
