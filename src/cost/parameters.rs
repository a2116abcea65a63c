//! Parameters of a model: the elements of its floating-point constants, and how many of them are not zero.

use crate::onnx::attribute::AttributeType;
use crate::onnx::dtype::DataType;
use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, TensorProto};
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
pub fn parameters(model: &Model) -> Parameters {
    let mut total = Parameters::default();
    graph(model.graph_proto(), &mut total);
    for function in &model.proto.functions {
        nodes(&function.node, &mut total);
    }
    total
}

fn graph(proto: &GraphProto, total: &mut Parameters) {
    for initializer in &proto.initializer {
        tensor(initializer, total);
    }
    for values in proto.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()) {
        tensor(values, total);
    }
    nodes(&proto.node, total);
}

fn nodes(nodes: &[crate::onnx::proto::NodeProto], total: &mut Parameters) {
    for node in nodes {
        for attribute in &node.attribute {
            if let Some(value) = attribute.t.as_ref().filter(|_| node.is("Constant")) {
                tensor(value, total);
            }
            if node.is("Constant") && attribute.r#type == Some(AttributeType::Floats as i32) {
                total.all += attribute.floats.len() as u64;
                total.nonzero += attribute.floats.iter().filter(|value| **value != 0.0).count() as u64;
            }
        }
        for subgraph in node.subgraphs() {
            graph(subgraph, total);
        }
    }
}

fn tensor(proto: &TensorProto, total: &mut Parameters) {
    let Some(dtype) = DataType::from_number(proto.data_type()).filter(|dtype| is_parameter(*dtype)) else { return };
    let count = proto.dims.iter().map(|size| u64::try_from(*size).unwrap_or(0)).product::<u64>();
    total.all += count;
    total.nonzero += Tensor::from_proto(proto).map_or(count, |tensor| nonzero(&tensor, dtype));
}

/// Whether constants of this type hold parameters.
pub fn is_parameter(dtype: DataType) -> bool {
    !matches!(
        dtype,
        DataType::Int32 | DataType::Int64 | DataType::Uint32 | DataType::Uint64 | DataType::Bool | DataType::String
    )
}

fn nonzero(tensor: &Tensor, dtype: DataType) -> u64 {
    match tensor.to_f32() {
        Ok(values) => values.iter().filter(|value| **value != 0.0).count() as u64,
        Err(_) if dtype.bits() % 8 == 0 => {
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
