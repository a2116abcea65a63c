//! Quantizers on the way, and how models are compared across them.
//!
//! Floating-point sums in another order differ in their last bit, and where such a sum lies between two steps of a
//! quantizer, that bit becomes a whole step, which the layers behind it pass on. So the way is cut in pieces: what each
//! quantizer reads is compared as tightly as an output, what it makes of that may differ by one step in few elements, and
//! the candidate goes on with the numbers that the reference has there, so that what comes behind starts from equal ones.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::masks::Kept;
use super::scramble::elements;
use super::tails::{declaration, jumps};
use crate::cost::inputs::Feeds;
use crate::onnx::bodies;
use crate::onnx::dtype::DataType;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::onnx::model::Model;
use crate::onnx::proto::{Dimension, NodeProto, TensorShapeProto, TypeValue, ValueInfoProto};
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;
use crate::prune::surgery::Tailor;

/// Share of the elements that may lie so near to the middle between two steps that they go to different ones. With 32-bit
/// floats, of relative error 1e-6, and 256 steps it is about 1e-4; a scale or zero point of another channel moves most
/// elements.
const TIPPED: f64 = 0.01;

/// The same for half precision, whose errors of 1e-3 are a quarter of a step.
const TIPPED_HALF: f64 = 0.5;

/// Which indices of each axis of a value stay; `None` for axes of which all do.
type Stays = Vec<Option<Kept>>;

/// The quantizers outside of branches and loops that read computed numbers.
#[derive(Debug, Default)]
pub struct Anchors {
    /// What they read and what they give, in the order of the graph.
    values: Vec<ValueInfoProto>,
    /// Of the values, those that lose indices.
    stays: HashMap<String, Stays>,
    /// The values that hold quantized numbers, which the candidate is given.
    given: HashSet<String>,
}

impl Anchors {
    /// Finds those of the original whose values the candidate has too, and that nothing before them makes jump.
    pub fn new(graph: &Graph<'_>, inferred: &Inferred, tailor: &Tailor<'_>, candidate: &Model) -> Self {
        let candidate = candidate.graph();
        let there = |name: &str| candidate.producer(name).is_some_and(|(at, _)| !bodies::is_inside(candidate.node(at)));
        let mut anchors = Self::default();
        let mut jumping: HashSet<&str> = HashSet::new();
        for (index, node) in graph.proto.node.iter().enumerate() {
            let touched = node.input.iter().any(|name| jumping.contains(name.as_str()));
            let mut values = node.input_name(0).into_iter().chain(node.output.iter().map(String::as_str));
            let anchored = is_quantizer(node)
                && !touched
                && !bodies::is_inside(node)
                && values.all(there)
                && anchors.add(index, graph, inferred, tailor).is_some();
            // What nothing has computed is the same in both models.
            let is_computed = node.input_name(0).is_some_and(|name| graph.producer(name).is_some());
            let jumps = jumps(node, inferred) && (!is_quantizer(node) || is_computed);
            if !anchored && (touched || jumps) {
                jumping.extend(node.output.iter().map(String::as_str));
            }
        }
        anchors
    }

    fn add(&mut self, index: NodeIndex, graph: &Graph<'_>, inferred: &Inferred, tailor: &Tailor<'_>) -> Option<()> {
        let node = graph.node(index);
        let read = node.input_name(0).filter(|name| graph.producer(name).is_some())?;
        let dtype = inferred.dtype(read).filter(|dtype| dtype.is_float())?;
        let types: Vec<DataType> = node.output.iter().map(|name| inferred.dtype(name)).collect::<Option<_>>()?;
        if !is_comparable(types[0]) {
            return None;
        }
        let layout = tailor.input_layout(index, 0);
        if layout.is_none() && tailor.is_cut(read) {
            return None;
        }
        let mut stays = Vec::new();
        for axis in layout.unwrap_or_default() {
            match Kept::of(tailor, axis) {
                Some(kept) => stays.push(kept.flags.contains(&false).then_some(kept)),
                None if tailor.loses(axis) => return None,
                None => stays.push(None),
            }
        }
        if stays.iter().any(Option::is_some) {
            self.stays.insert(read.to_owned(), stays.clone());
            self.stays.insert(node.output[0].clone(), stays);
        }
        let values = [(read, dtype)].into_iter().chain(node.output.iter().map(String::as_str).zip(types));
        for (name, dtype) in values {
            if !self.values.iter().any(|value| value.name() == name) {
                self.values.push(ranked(declaration(name, dtype.number()), inferred.rank(name)));
            }
        }
        self.given.extend(node.output.iter().cloned());
        Some(())
    }

    /// Whether a value is compared here, and not as an output.
    pub fn compares(&self, name: &str) -> bool {
        self.values.iter().any(|value| value.name() == name)
    }

    /// Whether a value is one that the candidate is given.
    pub fn gives(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// The model with the values as further outputs.
    pub fn observe(&self, model: &Model) -> Model {
        let mut model = model.clone();
        let proto = model.graph_proto_mut();
        let seen: HashSet<String> = proto.output.iter().map(|output| output.name().to_owned()).collect();
        proto.output.extend(self.values.iter().filter(|value| !seen.contains(value.name())).cloned());
        model
    }

    /// The candidate with the values as further outputs; whatever reads quantized numbers there takes them from inputs.
    pub fn hand_over(&self, candidate: &Model) -> Model {
        let mut model = self.observe(candidate);
        let proto = model.graph_proto_mut();
        for value in self.values.iter().filter(|value| self.gives(value.name())) {
            proto.input.push(ValueInfoProto { name: Some(input_of(value.name())), ..value.clone() });
        }
        for input in proto.node.iter_mut().flat_map(|node| &mut node.input) {
            if self.given.contains(input) {
                *input = input_of(input);
            }
        }
        model
    }

    /// What the candidate is given, from what it has of the outputs of the reference ([`Self::kept`]).
    pub fn feeds(&self, names: &[String], outputs: &[Tensor]) -> Feeds {
        let given = names.iter().zip(outputs).filter(|(name, _)| self.gives(name));
        given.map(|(name, tensor)| (input_of(name), tensor.clone())).collect()
    }

    /// What of a value of the reference the candidate has.
    pub fn kept<'t>(&self, name: &str, tensor: &'t Tensor) -> Cow<'t, Tensor> {
        match self.stays.get(name).filter(|stays| stays.len() == tensor.shape.len()) {
            None => Cow::Borrowed(tensor),
            Some(stays) => {
                let each = |(stays, size): (&Option<Kept>, &usize)| match stays {
                    Some(kept) => kept.spread(*size),
                    None => vec![true; *size],
                };
                let stays: Vec<Vec<bool>> = stays.iter().zip(&tensor.shape).map(each).collect();
                Cow::Owned(elements(tensor, &stays))
            }
        }
    }
}

/// Whether quantized numbers agree: nowhere by more than one step, and in most places to the step. What is no number of
/// steps has to agree as other values do.
pub fn agree(reference: &Tensor, found: &Tensor, half: bool) -> bool {
    let (Ok(a), Ok(b)) = (reference.to_i64(), found.to_i64()) else { return false };
    let tipped = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    let allowed = if half { TIPPED_HALF } else { TIPPED } * a.len() as f64;
    reference.shape == found.shape
        && a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= 1)
        // A handful of elements says nothing about a share.
        && tipped as f64 <= allowed.max(1.0)
}

/// Whether the steps of a type can be counted.
pub fn is_comparable(dtype: DataType) -> bool {
    matches!(dtype, DataType::Int8 | DataType::Uint8 | DataType::Int16 | DataType::Uint16)
}

fn is_quantizer(node: &NodeProto) -> bool {
    matches!(node.op_type(), "DynamicQuantizeLinear" | "QuantizeLinear")
        && matches!(node.operator_domain(), "" | "com.microsoft")
}

/// With as many axes as are known, of any size: ONNX Runtime runs no Scan over values of which it knows less.
fn ranked(mut value: ValueInfoProto, rank: Option<usize>) -> ValueInfoProto {
    if let Some(TypeValue::Tensor(tensor)) = value.r#type.as_mut().and_then(|value| value.value.as_mut()) {
        tensor.shape = rank.map(|rank| TensorShapeProto { dim: vec![Dimension::default(); rank] });
    }
    value
}

fn input_of(value: &str) -> String {
    format!("{value}_as_in_the_reference")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(values: &[u8]) -> Tensor {
        Tensor::from_bytes(DataType::Uint8, &[values.len()], values.to_vec().into()).unwrap()
    }

    #[test]
    fn few_elements_may_go_to_the_neighbouring_step() {
        let reference = [7; 200];
        let mut found = reference;
        found[3] = 8;
        found[4] = 6;
        assert!(agree(&steps(&reference), &steps(&found), false));
        found[5] = 8;
        assert!(!agree(&steps(&reference), &steps(&found), false), "three of two hundred");
        assert!(agree(&steps(&reference), &steps(&found), true), "half precision tips more of them");
        found[5] = 9;
        assert!(!agree(&steps(&reference), &steps(&found), true), "two steps");
    }
}
