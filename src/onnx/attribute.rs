//! Reading and making attributes of nodes.

use bytes::Bytes;

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// `AttributeProto.AttributeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum AttributeType {
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
}

/// The value of a new attribute.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made one at a time, on the way into a node")]
pub enum Attribute {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(TensorProto),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Attribute {
    /// The message with this name.
    pub fn into_proto(self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
        let kind = match self {
            Self::Float(value) => {
                proto.f = Some(value);
                AttributeType::Float
            }
            Self::Int(value) => {
                proto.i = Some(value);
                AttributeType::Int
            }
            Self::String(value) => {
                proto.s = Some(Bytes::from(value));
                AttributeType::String
            }
            Self::Tensor(value) => {
                proto.t = Some(value);
                AttributeType::Tensor
            }
            Self::Floats(values) => {
                proto.floats = values;
                AttributeType::Floats
            }
            Self::Ints(values) => {
                proto.ints = values;
                AttributeType::Ints
            }
        };
        proto.r#type = Some(kind as i32);
        proto
    }
}

impl NodeProto {
    /// The attribute with this name.
    pub fn find_attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.find_attribute(name).and_then(|attribute| attribute.i)
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.find_attribute(name).and_then(|attribute| attribute.f)
    }

    /// A list of integers; `None` where the attribute is absent.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.find_attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A text; `None` where it is absent or not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.find_attribute(name).and_then(|attribute| attribute.s.as_ref()).and_then(|s| std::str::from_utf8(s).ok())
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.find_attribute(name).and_then(|attribute| attribute.t.as_ref())
    }

    /// Sets an attribute, in its place where it is there already.
    pub fn set_attribute(&mut self, name: &str, value: Attribute) {
        let proto = value.into_proto(name);
        match self.attribute.iter_mut().find(|attribute| attribute.name() == name) {
            Some(attribute) => *attribute = proto,
            None => self.attribute.push(proto),
        }
    }

    /// The operator's domain; `ai.onnx` is written as the empty string.
    pub fn operator_domain(&self) -> &str {
        match self.domain() {
            "ai.onnx" => "",
            domain => domain,
        }
    }

    /// Whether this is an operator of the default domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.operator_domain().is_empty() && self.op_type() == op_type
    }

    /// The name of input `slot`; `None` where it is left out.
    pub fn input_name(&self, slot: usize) -> Option<&str> {
        self.input.get(slot).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The graphs in the node's attributes (If, Loop, Scan).
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
    }

    /// How messages name the node: operator and name, or operator and first output where it has no name.
    pub fn label(&self) -> String {
        let name = if self.name().is_empty() { self.output.first().map_or("", String::as_str) } else { self.name() };
        format!("{} {name}", self.op_type())
    }
}
