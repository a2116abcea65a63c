//! A model as bytes, piece by piece: weights go from where they lie to where they are wanted, and never through a copy of
//! the whole. The bytes are those that encoding at once would give.

use std::io::{self, Write};

use prost::Message;

use crate::onnx::proto::{GraphProto, ModelProto, SparseTensorProto, TensorProto};

/// Writes the message. Memory is taken for one node, and for what a graph says beside nodes and weights.
///
/// Errors: those of `out`.
pub fn write(model: &ModelProto, out: &mut dyn Write) -> io::Result<()> {
    let Some(graph) = &model.graph else { return out.write_all(&model.encode_to_vec()) };
    let mut sink = Sink { out, buffer: Vec::new() };
    // What stands before the graph and behind it, by field number.
    sink.fields(&ModelProto {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: model.doc_string.clone(),
        ..ModelProto::default()
    })?;
    let parts = GraphParts::of(graph);
    sink.header(7, parts.len(graph))?;
    sink.graph(graph, &parts)?;
    sink.fields(&ModelProto {
        opset_import: model.opset_import.clone(),
        metadata_props: model.metadata_props.clone(),
        training_info: model.training_info.clone(),
        functions: model.functions.clone(),
        configuration: model.configuration.clone(),
        ..ModelProto::default()
    })
}

/// What a graph says beside nodes, initializers and sparse initializers, in the order of field numbers around them.
struct GraphParts {
    name: GraphProto,
    values: GraphProto,
    metadata: GraphProto,
}

impl GraphParts {
    fn of(graph: &GraphProto) -> Self {
        Self {
            name: GraphProto { name: graph.name.clone(), ..GraphProto::default() },
            values: GraphProto {
                doc_string: graph.doc_string.clone(),
                input: graph.input.clone(),
                output: graph.output.clone(),
                value_info: graph.value_info.clone(),
                quantization_annotation: graph.quantization_annotation.clone(),
                ..GraphProto::default()
            },
            metadata: GraphProto { metadata_props: graph.metadata_props.clone(), ..GraphProto::default() },
        }
    }

    /// Length of the whole graph.
    fn len(&self, graph: &GraphProto) -> usize {
        let messages = graph.node.iter().map(|node| framed(1, node.encoded_len())).sum::<usize>()
            + graph.initializer.iter().map(|tensor| framed(5, tensor.encoded_len())).sum::<usize>()
            + graph.sparse_initializer.iter().map(|sparse| framed(15, sparse.encoded_len())).sum::<usize>();
        messages + self.name.encoded_len() + self.values.encoded_len() + self.metadata.encoded_len()
    }
}

struct Sink<'o> {
    out: &'o mut dyn Write,
    buffer: Vec<u8>,
}

impl Sink<'_> {
    fn graph(&mut self, graph: &GraphProto, parts: &GraphParts) -> io::Result<()> {
        for node in &graph.node {
            self.header(1, node.encoded_len())?;
            self.fields(node)?;
        }
        self.fields(&parts.name)?;
        for tensor in &graph.initializer {
            self.header(5, tensor.encoded_len())?;
            self.tensor(tensor)?;
        }
        self.fields(&parts.values)?;
        for sparse in &graph.sparse_initializer {
            self.header(15, sparse.encoded_len())?;
            self.sparse(sparse)?;
        }
        self.fields(&parts.metadata)
    }

    fn sparse(&mut self, sparse: &SparseTensorProto) -> io::Result<()> {
        for (number, tensor) in [(1, &sparse.values), (2, &sparse.indices)] {
            if let Some(tensor) = tensor {
                self.header(number, tensor.encoded_len())?;
                self.tensor(tensor)?;
            }
        }
        self.fields(&SparseTensorProto { dims: sparse.dims.clone(), ..SparseTensorProto::default() })
    }

    fn tensor(&mut self, tensor: &TensorProto) -> io::Result<()> {
        let Some(raw) = &tensor.raw_data else { return self.fields(tensor) };
        // Numbers in typed fields beside raw data are against the specification and still copied.
        self.fields(&TensorProto {
            dims: tensor.dims.clone(),
            data_type: tensor.data_type,
            segment: tensor.segment.clone(),
            float_data: tensor.float_data.clone(),
            int32_data: tensor.int32_data.clone(),
            string_data: tensor.string_data.clone(),
            int64_data: tensor.int64_data.clone(),
            name: tensor.name.clone(),
            ..TensorProto::default()
        })?;
        self.header(9, raw.len())?;
        self.out.write_all(raw)?;
        self.fields(&TensorProto {
            double_data: tensor.double_data.clone(),
            uint64_data: tensor.uint64_data.clone(),
            doc_string: tensor.doc_string.clone(),
            external_data: tensor.external_data.clone(),
            data_location: tensor.data_location,
            metadata_props: tensor.metadata_props.clone(),
            ..TensorProto::default()
        })
    }

    /// A message's fields without a frame.
    fn fields(&mut self, message: &impl Message) -> io::Result<()> {
        self.buffer.clear();
        // A vector takes whatever is encoded.
        message.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
    }

    /// Key and length of a field that holds a message or bytes.
    fn header(&mut self, number: u8, length: usize) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(number << 3 | 2);
        prost::encode_length_delimiter(length, &mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
    }
}

/// Bytes of a field of that length; field numbers up to 15 take one byte.
fn framed(number: u8, length: usize) -> usize {
    debug_assert!(number < 16, "a field number of two bytes");
    1 + prost::length_delimiter_len(length) + length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{
        DeviceConfigurationProto, FunctionProto, OperatorSetIdProto, StringStringEntryProto, TensorAnnotation,
        TrainingInfoProto, ValueInfoProto,
    };

    #[test]
    fn the_bytes_are_those_of_encoding_at_once() {
        let entry = || StringStringEntryProto { key: Some("k".into()), value: Some("v".into()) };
        let tensor = |name: &str| TensorProto {
            dims: vec![2],
            data_type: Some(1),
            name: Some(name.into()),
            raw_data: Some(vec![7; 300].into()),
            doc_string: Some("text".into()),
            metadata_props: vec![entry()],
            ..TensorProto::default()
        };
        let typed = TensorProto { float_data: vec![1.0, 2.0], raw_data: None, ..tensor("typed") };
        let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() };
        let node = crate::onnx::proto::NodeProto { op_type: Some("Relu".into()), ..Default::default() };
        let graph = GraphProto {
            node: vec![node.clone(), node],
            name: Some("g".into()),
            initializer: vec![tensor("a"), typed, tensor("b")],
            sparse_initializer: vec![SparseTensorProto {
                values: Some(tensor("s")),
                indices: Some(tensor("i")),
                dims: vec![4, 5],
            }],
            doc_string: Some("doc".into()),
            input: vec![value("x")],
            output: vec![value("y")],
            value_info: vec![value("z")],
            quantization_annotation: vec![TensorAnnotation { tensor_name: Some("a".into()), ..Default::default() }],
            metadata_props: vec![entry()],
        };
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
            producer_name: Some("p".into()),
            producer_version: Some("1".into()),
            domain: Some("d".into()),
            model_version: Some(3),
            doc_string: Some("doc".into()),
            graph: Some(graph),
            metadata_props: vec![entry()],
            training_info: vec![TrainingInfoProto::default()],
            functions: vec![FunctionProto::default()],
            configuration: vec![DeviceConfigurationProto::default()],
        };
        let mut written = Vec::new();
        write(&model, &mut written).unwrap();
        assert_eq!(written, model.encode_to_vec());
    }
}
