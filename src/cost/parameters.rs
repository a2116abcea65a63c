//! Parameters of a model: the elements of its floating-point constants, and how many of them are not zero.

use crate::onnx::attribute::AttributeType;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};
use crate::onnx::tensor::Tensor;

/// How many parameters a model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pub all: u64,
    /// Those that are not zero; elements in external files count as not zero.
    pub nonzero: u64,
}

/// Counts initializers and the tensors of `Constant` nodes, those in subgraphs and functions included. Quantized weights
/// are parameters too; 32- and 64-bit integers, booleans and strings are not, they hold shapes, indices and masks.
///
/// Cost: reads every weight.
pub fn parameters(model: &Model) -> Parameters {
    let mut total = Parameters::default();
    visit(model, &mut |constant| {
        total.all += constant.len();
        total.nonzero += constant.nonzero();
    });
    total
}

/// Their number alone, without reading a weight.
pub fn parameter_count(model: &Model) -> u64 {
    let mut total = 0;
    visit(model, &mut |constant| total += constant.len());
    total
}

/// A constant that holds parameters.
enum Constant<'m> {
    Tensor(&'m TensorProto, DataType),
    Floats(&'m [f32]),
}

impl Constant<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Tensor(proto, _) => proto.dims.iter().map(|size| u64::try_from(*size).unwrap_or(0)).product(),
            Self::Floats(floats) => floats.len() as u64,
        }
    }

    fn nonzero(&self) -> u64 {
        match self {
            Self::Tensor(proto, dtype) => {
                Tensor::from_proto(proto).map_or(self.len(), |tensor| nonzero(&tensor, *dtype))
            }
            Self::Floats(floats) => floats.iter().filter(|value| **value != 0.0).count() as u64,
        }
    }
}

fn visit<'m>(model: &'m Model, seen: &mut dyn FnMut(Constant<'m>)) {
    graph(model.graph_proto(), seen);
    for function in &model.proto.functions {
        nodes(&function.node, seen);
    }
}

fn graph<'m>(proto: &'m GraphProto, seen: &mut dyn FnMut(Constant<'m>)) {
    let sparse = proto.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    for tensor in proto.initializer.iter().chain(sparse) {
        see(tensor, seen);
    }
    nodes(&proto.node, seen);
}

fn nodes<'m>(nodes: &'m [NodeProto], seen: &mut dyn FnMut(Constant<'m>)) {
    for node in nodes {
        if node.is("Constant") {
            for attribute in &node.attribute {
                attribute.t.iter().for_each(|tensor| see(tensor, seen));
                if attribute.r#type == Some(AttributeType::Floats as i32) {
                    seen(Constant::Floats(&attribute.floats));
                }
            }
        }
        for subgraph in node.subgraphs() {
            graph(subgraph, seen);
        }
    }
}

fn see<'m>(tensor: &'m TensorProto, seen: &mut dyn FnMut(Constant<'m>)) {
    if let Some(dtype) = DataType::from_number(tensor.data_type()).filter(|dtype| is_parameter(*dtype)) {
        seen(Constant::Tensor(tensor, dtype));
    }
}

/// Whether constants of this type hold parameters.
pub fn is_parameter(dtype: DataType) -> bool {
    !matches!(
        dtype,
        DataType::Int32 | DataType::Int64 | DataType::Uint32 | DataType::Uint64 | DataType::Bool | DataType::String
    )
}

/// Elements that are not zero, whatever their type.
pub fn nonzero(tensor: &Tensor, dtype: DataType) -> u64 {
    match tensor.to_f32() {
        Ok(values) => values.iter().filter(|value| **value != 0.0).count() as u64,
        Err(_) if dtype.bits().is_multiple_of(8) => {
            tensor.data.chunks_exact(dtype.bits() / 8).filter(|element| element.iter().any(|byte| *byte != 0)).count()
                as u64
        }
        // Packed elements narrower than a byte: each nibble or pair of bits for itself.
        Err(_) => {
            let bits = dtype.bits();
            let mask = (1_u16 << bits.min(8)) - 1;
            (0..tensor.len()).filter(|i| (u16::from(tensor.data[i * bits / 8]) >> (i * bits % 8)) & mask != 0).count()
                as u64
        }
    }
}
