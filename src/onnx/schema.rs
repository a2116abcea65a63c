//! The wire schema of ONNX: for each message its fields, their numbers and wire types.
//!
//! Used by [`super::prescan`] to walk a file without decoding it. It must know nothing of our structs, so that the
//! round-trip test compares files by an independent reading.

/// A message of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    AttributeProto,
    ValueInfoProto,
    NodeProto,
    IntIntListEntryProto,
    NodeDeviceConfigurationProto,
    ShardingSpecProto,
    ShardedDimProto,
    SimpleShardedDimProto,
    TrainingInfoProto,
    ModelProto,
    DeviceConfigurationProto,
    StringStringEntryProto,
    TensorAnnotation,
    GraphProto,
    TensorProto,
    Segment,
    SparseTensorProto,
    TensorShapeProto,
    Dimension,
    TypeProto,
    TensorType,
    SequenceType,
    MapType,
    OptionalType,
    SparseTensorType,
    OpaqueType,
    OperatorSetIdProto,
    FunctionProto,
}

/// What a field holds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Varint,
    F32,
    F64,
    /// UTF-8 text.
    Str,
    Bytes,
    Message(Kind),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub number: u32,
    pub name: &'static str,
    pub wire: Wire,
    pub repeated: bool,
    /// Whether the specification packs it; a reader takes both forms.
    pub packed: bool,
}

const fn one(number: u32, name: &'static str, wire: Wire) -> Field {
    Field { number, name, wire, repeated: false, packed: false }
}

const fn many(number: u32, name: &'static str, wire: Wire) -> Field {
    Field { number, name, wire, repeated: true, packed: false }
}

const fn packed(number: u32, name: &'static str, wire: Wire) -> Field {
    Field { number, name, wire, repeated: true, packed: true }
}

use Wire::{Bytes, F32, F64, Message, Str, Varint};

impl Kind {
    /// The fields of the message, in the order of the specification.
    #[expect(clippy::match_same_arms, reason = "each message stands for itself")]
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::AttributeProto => {
                const {
                    &[
                        one(1, "name", Str),
                        one(21, "ref_attr_name", Str),
                        one(13, "doc_string", Str),
                        one(20, "type", Varint),
                        one(2, "f", F32),
                        one(3, "i", Varint),
                        one(4, "s", Bytes),
                        one(5, "t", Message(Kind::TensorProto)),
                        one(6, "g", Message(Kind::GraphProto)),
                        one(22, "sparse_tensor", Message(Kind::SparseTensorProto)),
                        one(14, "tp", Message(Kind::TypeProto)),
                        many(7, "floats", F32),
                        many(8, "ints", Varint),
                        many(9, "strings", Bytes),
                        many(10, "tensors", Message(Kind::TensorProto)),
                        many(11, "graphs", Message(Kind::GraphProto)),
                        many(23, "sparse_tensors", Message(Kind::SparseTensorProto)),
                        many(15, "type_protos", Message(Kind::TypeProto)),
                    ]
                }
            }
            Self::ValueInfoProto => {
                const {
                    &[
                        one(1, "name", Str),
                        one(2, "type", Message(Kind::TypeProto)),
                        one(3, "doc_string", Str),
                        many(4, "metadata_props", Message(Kind::StringStringEntryProto)),
                    ]
                }
            }
            Self::NodeProto => {
                const {
                    &[
                        many(1, "input", Str),
                        many(2, "output", Str),
                        one(3, "name", Str),
                        one(4, "op_type", Str),
                        one(7, "domain", Str),
                        one(8, "overload", Str),
                        many(5, "attribute", Message(Kind::AttributeProto)),
                        one(6, "doc_string", Str),
                        many(9, "metadata_props", Message(Kind::StringStringEntryProto)),
                        many(10, "device_configurations", Message(Kind::NodeDeviceConfigurationProto)),
                    ]
                }
            }
            Self::IntIntListEntryProto => const { &[one(1, "key", Varint), many(2, "value", Varint)] },
            Self::NodeDeviceConfigurationProto => {
                const {
                    &[
                        one(1, "configuration_id", Str),
                        many(2, "sharding_spec", Message(Kind::ShardingSpecProto)),
                        one(3, "pipeline_stage", Varint),
                    ]
                }
            }
            Self::ShardingSpecProto => {
                const {
                    &[
                        one(1, "tensor_name", Str),
                        many(2, "device", Varint),
                        many(3, "index_to_device_group_map", Message(Kind::IntIntListEntryProto)),
                        many(4, "sharded_dim", Message(Kind::ShardedDimProto)),
                    ]
                }
            }
            Self::ShardedDimProto => {
                const { &[one(1, "axis", Varint), many(2, "simple_sharding", Message(Kind::SimpleShardedDimProto))] }
            }
            Self::SimpleShardedDimProto => {
                const { &[one(1, "dim_value", Varint), one(2, "dim_param", Str), one(3, "num_shards", Varint)] }
            }
            Self::TrainingInfoProto => {
                const {
                    &[
                        one(1, "initialization", Message(Kind::GraphProto)),
                        one(2, "algorithm", Message(Kind::GraphProto)),
                        many(3, "initialization_binding", Message(Kind::StringStringEntryProto)),
                        many(4, "update_binding", Message(Kind::StringStringEntryProto)),
                    ]
                }
            }
            Self::ModelProto => {
                const {
                    &[
                        one(1, "ir_version", Varint),
                        many(8, "opset_import", Message(Kind::OperatorSetIdProto)),
                        one(2, "producer_name", Str),
                        one(3, "producer_version", Str),
                        one(4, "domain", Str),
                        one(5, "model_version", Varint),
                        one(6, "doc_string", Str),
                        one(7, "graph", Message(Kind::GraphProto)),
                        many(14, "metadata_props", Message(Kind::StringStringEntryProto)),
                        many(20, "training_info", Message(Kind::TrainingInfoProto)),
                        many(25, "functions", Message(Kind::FunctionProto)),
                        many(26, "configuration", Message(Kind::DeviceConfigurationProto)),
                    ]
                }
            }
            Self::DeviceConfigurationProto => {
                const { &[one(1, "name", Str), one(2, "num_devices", Varint), many(3, "device", Str)] }
            }
            Self::StringStringEntryProto => const { &[one(1, "key", Str), one(2, "value", Str)] },
            Self::TensorAnnotation => {
                const {
                    &[
                        one(1, "tensor_name", Str),
                        many(2, "quant_parameter_tensor_names", Message(Kind::StringStringEntryProto)),
                    ]
                }
            }
            Self::GraphProto => {
                const {
                    &[
                        many(1, "node", Message(Kind::NodeProto)),
                        one(2, "name", Str),
                        many(5, "initializer", Message(Kind::TensorProto)),
                        many(15, "sparse_initializer", Message(Kind::SparseTensorProto)),
                        one(10, "doc_string", Str),
                        many(11, "input", Message(Kind::ValueInfoProto)),
                        many(12, "output", Message(Kind::ValueInfoProto)),
                        many(13, "value_info", Message(Kind::ValueInfoProto)),
                        many(14, "quantization_annotation", Message(Kind::TensorAnnotation)),
                        many(16, "metadata_props", Message(Kind::StringStringEntryProto)),
                    ]
                }
            }
            Self::TensorProto => {
                const {
                    &[
                        many(1, "dims", Varint),
                        one(2, "data_type", Varint),
                        one(3, "segment", Message(Kind::Segment)),
                        packed(4, "float_data", F32),
                        packed(5, "int32_data", Varint),
                        many(6, "string_data", Bytes),
                        packed(7, "int64_data", Varint),
                        one(8, "name", Str),
                        one(12, "doc_string", Str),
                        one(9, "raw_data", Bytes),
                        many(13, "external_data", Message(Kind::StringStringEntryProto)),
                        one(14, "data_location", Varint),
                        packed(10, "double_data", F64),
                        packed(11, "uint64_data", Varint),
                        many(16, "metadata_props", Message(Kind::StringStringEntryProto)),
                    ]
                }
            }
            Self::Segment => const { &[one(1, "begin", Varint), one(2, "end", Varint)] },
            Self::SparseTensorProto => {
                const {
                    &[
                        one(1, "values", Message(Kind::TensorProto)),
                        one(2, "indices", Message(Kind::TensorProto)),
                        many(3, "dims", Varint),
                    ]
                }
            }
            Self::TensorShapeProto => const { &[many(1, "dim", Message(Kind::Dimension))] },
            Self::Dimension => {
                const { &[one(1, "dim_value", Varint), one(2, "dim_param", Str), one(3, "denotation", Str)] }
            }
            Self::TypeProto => {
                const {
                    &[
                        one(1, "tensor_type", Message(Kind::TensorType)),
                        one(4, "sequence_type", Message(Kind::SequenceType)),
                        one(5, "map_type", Message(Kind::MapType)),
                        one(9, "optional_type", Message(Kind::OptionalType)),
                        one(8, "sparse_tensor_type", Message(Kind::SparseTensorType)),
                        one(7, "opaque_type", Message(Kind::OpaqueType)),
                        one(6, "denotation", Str),
                    ]
                }
            }
            Self::TensorType => {
                const { &[one(1, "elem_type", Varint), one(2, "shape", Message(Kind::TensorShapeProto))] }
            }
            Self::SequenceType => const { &[one(1, "elem_type", Message(Kind::TypeProto))] },
            Self::MapType => const { &[one(1, "key_type", Varint), one(2, "value_type", Message(Kind::TypeProto))] },
            Self::OptionalType => const { &[one(1, "elem_type", Message(Kind::TypeProto))] },
            Self::SparseTensorType => {
                const { &[one(1, "elem_type", Varint), one(2, "shape", Message(Kind::TensorShapeProto))] }
            }
            Self::OpaqueType => const { &[one(1, "domain", Str), one(2, "name", Str)] },
            Self::OperatorSetIdProto => const { &[one(1, "domain", Str), one(2, "version", Varint)] },
            Self::FunctionProto => {
                const {
                    &[
                        one(1, "name", Str),
                        many(4, "input", Str),
                        many(5, "output", Str),
                        many(6, "attribute", Str),
                        many(11, "attribute_proto", Message(Kind::AttributeProto)),
                        many(7, "node", Message(Kind::NodeProto)),
                        one(8, "doc_string", Str),
                        many(9, "opset_import", Message(Kind::OperatorSetIdProto)),
                        one(10, "domain", Str),
                        one(13, "overload", Str),
                        many(12, "value_info", Message(Kind::ValueInfoProto)),
                        many(14, "metadata_props", Message(Kind::StringStringEntryProto)),
                    ]
                }
            }
        }
    }

    /// The field with this number.
    pub fn field(self, number: u32) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.number == number)
    }
}
