//! What is known of a value, and what a rule sees of a node.

use std::sync::Arc;

use super::dim::Dim;
use super::infer::Engine;
use super::value::{ShapeValue, element_count};
use crate::onnx::dtype::DataType;
use crate::onnx::proto::NodeProto;

/// Axes above which a shape is not followed. ONNX Runtime's kernels end far below.
pub const MAX_RANK: usize = 64;

/// What is known of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    pub dtype: Option<DataType>,
    /// `None` where the rank is unknown or the value is not a tensor.
    pub dims: Option<Vec<Dim>>,
    /// The elements, where the value is a small tensor of a shape computation.
    pub value: Option<ShapeValue>,
    /// The elements of a small floating-point constant.
    pub floats: Option<Arc<[f32]>>,
}

impl Fact {
    /// A tensor.
    pub fn new(dtype: Option<DataType>, dims: Vec<Dim>) -> Self {
        Self { dtype, dims: Some(dims), ..Self::default() }
    }

    /// A tensor whose elements are known, where `value` is.
    #[must_use]
    pub fn with_value(mut self, value: Option<ShapeValue>) -> Self {
        self.value = value;
        self
    }

    /// A tensor whose elements and therefore shape are known.
    pub fn of_value(dtype: Option<DataType>, value: ShapeValue) -> Self {
        Self::new(dtype, value.shape.iter().map(|size| Dim::known(*size as i64)).collect()).with_value(Some(value))
    }

    /// All that can be said is the element type.
    pub fn of_dtype(dtype: Option<DataType>) -> Self {
        Self { dtype, ..Self::default() }
    }
}

/// Why a rule cannot tell the outputs.
pub type Reason = String;

/// What a rule gives: a fact for each output, fewer where the rest is unknown.
pub type Outputs = Result<Vec<Fact>, Reason>;

/// A node with what is known of its inputs.
#[derive(Debug)]
pub struct Call<'a> {
    pub node: &'a NodeProto,
    /// Version of the operator set of the node's domain.
    pub opset: i64,
    pub inputs: Vec<Option<Fact>>,
    pub engine: &'a Engine<'a>,
}

impl Call<'_> {
    /// Input `slot`; an error where it is left out.
    pub fn input(&self, slot: usize) -> Result<&Fact, Reason> {
        self.optional(slot).ok_or_else(|| format!("input {slot} is missing"))
    }

    /// Input `slot`, where it is there.
    pub fn optional(&self, slot: usize) -> Option<&Fact> {
        self.inputs.get(slot).and_then(Option::as_ref)
    }

    /// Shape of input `slot`.
    pub fn dims(&self, slot: usize) -> Result<&[Dim], Reason> {
        self.input(slot)?
            .dims
            .as_deref()
            .ok_or_else(|| format!("the rank of input {slot}{} is unknown", self.quoted(slot)))
    }

    /// Element type of input `slot`.
    pub fn dtype(&self, slot: usize) -> Option<DataType> {
        self.optional(slot).and_then(|fact| fact.dtype)
    }

    /// Elements of input `slot`, where they are followed (fractions included).
    pub fn value(&self, slot: usize) -> Option<&ShapeValue> {
        self.optional(slot).and_then(|fact| fact.value.as_ref())
    }

    /// Elements of input `slot` as integer expressions.
    pub fn integers(&self, slot: usize) -> Option<&ShapeValue> {
        self.value(slot).filter(|value| value.is_integral())
    }

    /// Elements of input `slot` as numbers; an error where they are not known.
    pub fn numbers(&self, slot: usize) -> Result<Vec<i64>, Reason> {
        self.input(slot)?;
        self.integers(slot)
            .and_then(ShapeValue::known)
            .ok_or_else(|| format!("the elements of input {slot}{} are unknown", self.quoted(slot)))
    }

    /// Numbers that older operator sets keep in an attribute and newer ones in an input; `None` where both are absent.
    pub fn numbers_from(&self, attribute: &str, slot: usize) -> Result<Option<Vec<i64>>, Reason> {
        if let Some(numbers) = self.node.ints(attribute) {
            return Ok(Some(numbers.to_vec()));
        }
        if self.optional(slot).is_none() { Ok(None) } else { self.numbers(slot).map(Some) }
    }

    /// An integer attribute or its default.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.node.int(name).unwrap_or(default)
    }

    /// A size that depends on data: an axis (or element) of an output.
    pub fn data(&self, output: usize, position: usize) -> Dim {
        let name = self.node.output.get(output).map_or("", String::as_str);
        Dim::data(&format!("{name}[{position}]"))
    }

    /// `rank` axes of an output that depend on data.
    pub fn unknown_dims(&self, output: usize, rank: usize) -> Vec<Dim> {
        (0..rank.min(MAX_RANK)).map(|axis| self.data(output, axis)).collect()
    }

    /// Elements of input `slot`; where they are not followed but few and integers, symbols that stand for them.
    pub fn value_or_symbols(&self, slot: usize) -> Option<ShapeValue> {
        let fact = self.optional(slot)?;
        if fact.value.is_some() {
            return fact.value.clone();
        }
        let shape =
            fact.dims.as_ref()?.iter().map(|dim| usize::try_from(dim.as_known()?).ok()).collect::<Option<Vec<_>>>()?;
        let count = element_count(&shape).filter(|count| *count <= 8)?;
        let name = self.node.input_name(slot)?;
        matches!(fact.dtype, Some(DataType::Int64 | DataType::Int32))
            .then(|| ShapeValue::new(shape, (0..count).map(|i| Dim::data(&format!("{name}[{i}]"))).collect()))?
    }

    fn quoted(&self, slot: usize) -> String {
        self.node.input_name(slot).map(|name| format!(" `{name}`")).unwrap_or_default()
    }
}

/// The axis that a possibly negative number means.
pub fn axis_of(axis: i64, rank: usize) -> Result<usize, Reason> {
    let rank_signed = rank as i64;
    let index = if axis < 0 { axis.saturating_add(rank_signed) } else { axis };
    usize::try_from(index)
        .ok()
        .filter(|index| *index < rank)
        .ok_or_else(|| format!("axis {axis} is outside of {rank} axes"))
}

/// Several axes, each once.
pub fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, Reason> {
    let mut found = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("an axis is given twice".into());
    }
    Ok(found)
}

/// The shape that multidirectional broadcasting gives.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Reason> {
    let rank = a.len().max(b.len());
    let one = Dim::known(1);
    (0..rank)
        .map(|axis| {
            let size =
                |dims: &[Dim]| (axis + dims.len()).checked_sub(rank).map_or(one.clone(), |axis| dims[axis].clone());
            let (left, right) = (size(a), size(b));
            left.broadcast(&right).ok_or_else(|| format!("sizes {left} and {right} do not broadcast"))
        })
        .collect()
}
