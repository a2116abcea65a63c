//! Whether a decoded model is sound: every name is made once and before it is used, tensors hold the bytes that their
//! shapes ask for, functions do not call themselves.
//!
//! Knows nothing of operators: whether a node is right is the runtime's to say. A refusal names the place. What is odd but
//! harmless is no refusal (`super::summary` tells it).

use std::collections::{HashMap, HashSet};

use super::bodies;
use super::dtype::DataType;
use super::proto::{
    FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use super::tensor::{TensorError, element_count};
use crate::spec::failure::{Failure, FailureCode};

/// Why a model is not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error("the model has no graph")]
    NoGraph,
    #[error("the graph has no outputs")]
    NoOutputs,
    #[error("the model imports no operator set")]
    NoOpset,
    #[error("input {slot} of node `{node}` is `{value}`, which nothing makes")]
    DanglingInput { node: String, slot: usize, value: String },
    #[error("the output `{value}` is made by nothing")]
    DanglingOutput { value: String },
    #[error("the name `{value}` is given to two values")]
    DuplicateValue { value: String },
    #[error("two initializers are named `{name}`")]
    DuplicateInitializer { name: String },
    #[error("an initializer has no name")]
    NamelessInitializer,
    #[error("these nodes wait for each other: {}", nodes.join(", "))]
    Cycle { nodes: Vec<String> },
    #[error("the function `{function}` calls itself")]
    RecursiveFunction { function: String },
    #[error("the tensor `{tensor}` is broken: {reason}")]
    Tensor { tensor: String, reason: TensorError },
    #[error("the tensor `{tensor}` has {elements} elements, more than the {limit} that are allowed")]
    TensorTooLarge { tensor: String, elements: u128, limit: u64 },
    #[error("the sparse tensor `{tensor}` is broken: {reason}")]
    Sparse { tensor: String, reason: String },
    #[error("the sparse tensors up to `{tensor}` take more than {limit} bytes when they are written out")]
    SparseTooLarge { tensor: String, limit: u64 },
    #[error(
        "the elements of the tensor `{tensor}` lie in an external file; send that file with the model, as a further part of \
         the form"
    )]
    ExternalData { tensor: String },
    #[error("`{place}` has `{name}`, which is reserved for graphs that are being pruned; rename it")]
    Reserved { place: String, name: String },
    #[error("axis {axis} of `{value}` is declared with the size {size}")]
    NegativeSize { value: String, axis: usize, size: i64 },
}

impl Unsound {
    /// Where in the model.
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::NoGraph | Self::NoOutputs | Self::NoOpset | Self::NamelessInitializer => None,
            Self::DanglingInput { node, .. } => Some(node),
            Self::DanglingOutput { value } | Self::DuplicateValue { value } | Self::NegativeSize { value, .. } => {
                Some(value)
            }
            Self::DuplicateInitializer { name } => Some(name),
            Self::Reserved { place, .. } => Some(place),
            Self::Cycle { nodes } => nodes.first().map(String::as_str),
            Self::RecursiveFunction { function } => Some(function),
            Self::Tensor { tensor, .. }
            | Self::TensorTooLarge { tensor, .. }
            | Self::Sparse { tensor, .. }
            | Self::SparseTooLarge { tensor, .. }
            | Self::ExternalData { tensor } => Some(tensor),
        }
    }
}

impl From<Unsound> for Failure {
    fn from(unsound: Unsound) -> Self {
        let code = match unsound {
            Unsound::ExternalData { .. } => FailureCode::ExternalData,
            _ => FailureCode::InvalidModel,
        };
        let failure = Self::new(code, unsound.to_string());
        match unsound.place() {
            Some(place) => failure.at(place),
            None => failure,
        }
    }
}

/// Checks a model whose nodes are in topological order; no tensor may have more elements than `tensor_elements`.
pub fn check(model: &ModelProto, tensor_elements: u64) -> Result<(), Unsound> {
    let graph = model.graph.as_ref().ok_or(Unsound::NoGraph)?;
    if graph.output.is_empty() {
        return Err(Unsound::NoOutputs);
    }
    if model.opset_import.is_empty() {
        return Err(Unsound::NoOpset);
    }
    let checker = Checker { tensor_elements };
    checker.graph(graph, &[])?;
    for function in &model.functions {
        let scope = function.input.iter().map(String::as_str).collect();
        let scope = checker.nodes(&function.node, scope, &[])?;
        if let Some(value) = function.output.iter().find(|name| !scope.contains(name.as_str())) {
            return Err(Unsound::DanglingOutput { value: value.clone() });
        }
    }
    recursion(&model.functions)
}

struct Checker {
    tensor_elements: u64,
}

impl Checker {
    fn graph(&self, graph: &GraphProto, outer: &[&HashSet<&str>]) -> Result<(), Unsound> {
        let mut own: HashSet<&str> = HashSet::new();
        for info in &graph.input {
            declared(info)?;
            if !info.name().is_empty() && !own.insert(info.name()) {
                return Err(Unsound::DuplicateValue { value: info.name().to_owned() });
            }
        }
        let mut initializers: HashSet<&str> = HashSet::new();
        for tensor in &graph.initializer {
            unmarked(&tensor.metadata_props, || tensor.name().to_owned())?;
            self.tensor(tensor.name(), tensor)?;
            if tensor.name().is_empty() {
                return Err(Unsound::NamelessInitializer);
            }
            if !initializers.insert(tensor.name()) {
                return Err(Unsound::DuplicateInitializer { name: tensor.name().to_owned() });
            }
        }
        for sparse in &graph.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", TensorProto::name);
            self.sparse(name, sparse)?;
            if !initializers.insert(name) {
                return Err(Unsound::DuplicateInitializer { name: name.to_owned() });
            }
        }
        own.extend(initializers);
        let scope = self.nodes(&graph.node, own, outer)?;
        for info in &graph.output {
            declared(info)?;
            if !scope.contains(info.name()) && !outer.iter().any(|scope| scope.contains(info.name())) {
                return Err(Unsound::DanglingOutput { value: info.name().to_owned() });
            }
        }
        Ok(())
    }

    /// Checks nodes whose inputs come from `scope`, each other and the scopes around; gives the scope with what they make.
    fn nodes<'g>(
        &self,
        nodes: &'g [NodeProto],
        mut scope: HashSet<&'g str>,
        outer: &[&HashSet<&str>],
    ) -> Result<HashSet<&'g str>, Unsound> {
        for node in nodes {
            if node.operator_domain() == bodies::DOMAIN {
                return Err(Unsound::Reserved { place: node.label(), name: bodies::DOMAIN.to_owned() });
            }
            unmarked(&node.metadata_props, || node.label())?;
            for (slot, name) in node.input.iter().enumerate() {
                let name_known = |scope: &HashSet<&str>| scope.contains(name.as_str());
                if !name.is_empty() && !name_known(&scope) && !outer.iter().any(|scope| name_known(scope)) {
                    return Err(Unsound::DanglingInput { node: node.label(), slot, value: name.clone() });
                }
            }
            for attribute in &node.attribute {
                let place = || format!("{}: {}", node.label(), attribute.name());
                for tensor in attribute.t.iter().chain(&attribute.tensors) {
                    self.tensor(&place(), tensor)?;
                }
                for sparse in attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors) {
                    self.sparse(&place(), sparse)?;
                }
                for graph in attribute.g.iter().chain(&attribute.graphs) {
                    self.graph(graph, &[outer, &[&scope]].concat())?;
                }
            }
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                if !scope.insert(name) {
                    return Err(Unsound::DuplicateValue { value: name.clone() });
                }
            }
        }
        Ok(scope)
    }

    fn tensor(&self, name: &str, tensor: &TensorProto) -> Result<(), Unsound> {
        let broken = |reason| Unsound::Tensor { tensor: name.to_owned(), reason };
        let mut elements: u128 = 1;
        for (axis, size) in tensor.dims.iter().enumerate() {
            let size = u64::try_from(*size).map_err(|_| broken(TensorError::NegativeSize { axis, size: *size }))?;
            elements = elements.saturating_mul(u128::from(size));
        }
        if elements > u128::from(self.tensor_elements) {
            let limit = self.tensor_elements;
            return Err(Unsound::TensorTooLarge { tensor: name.to_owned(), elements, limit });
        }
        if tensor.data_location() != 0 || !tensor.external_data.is_empty() {
            return Err(Unsound::ExternalData { tensor: name.to_owned() });
        }
        let number = tensor.data_type();
        let dtype = DataType::from_number(number).ok_or_else(|| broken(TensorError::UnknownType(number)))?;
        let shape: Vec<usize> = tensor.dims.iter().map(|size| *size as usize).collect();
        let count = element_count(&shape).ok_or_else(|| broken(TensorError::TooLarge(tensor.dims.clone())))?;
        let (expected, found) = match held(tensor, dtype) {
            Held::Bytes(found) => {
                let expected =
                    dtype.bytes_for(count).ok_or_else(|| broken(TensorError::TooLarge(tensor.dims.clone())))?;
                (expected, found)
            }
            Held::Elements { width, found } => (count.div_ceil(width.max(1)), found),
        };
        if expected != found {
            return Err(broken(TensorError::WrongLength { shape, dtype, expected, found }));
        }
        Ok(())
    }

    fn sparse(&self, name: &str, sparse: &SparseTensorProto) -> Result<(), Unsound> {
        for tensor in sparse.values.iter().chain(&sparse.indices) {
            self.tensor(name, tensor)?;
        }
        Ok(())
    }
}

/// What a tensor message holds.
enum Held {
    Bytes(usize),
    /// Entries of a typed field, each with `width` elements.
    Elements {
        width: usize,
        found: usize,
    },
}

fn held(tensor: &TensorProto, dtype: DataType) -> Held {
    if let Some(raw) = &tensor.raw_data {
        return Held::Bytes(raw.len());
    }
    let (width, found) = match dtype {
        DataType::Float => (1, tensor.float_data.len()),
        DataType::Double => (1, tensor.double_data.len()),
        DataType::Complex64 => return Held::Bytes(tensor.float_data.len().saturating_mul(4)),
        DataType::Complex128 => return Held::Bytes(tensor.double_data.len().saturating_mul(8)),
        DataType::Int64 => (1, tensor.int64_data.len()),
        DataType::Uint64 | DataType::Uint32 => (1, tensor.uint64_data.len()),
        DataType::String => (1, tensor.string_data.len()),
        _ => match dtype.bits() {
            bits @ (2 | 4) => (8 / bits, tensor.int32_data.len()),
            // Elements of 6 bits are packed into bytes, one byte an entry.
            6 => return Held::Bytes(tensor.int32_data.len()),
            _ => (1, tensor.int32_data.len()),
        },
    };
    Held::Elements { width, found }
}

/// Refuses metadata that would be taken for marks of our own.
fn unmarked(props: &[StringStringEntryProto], place: impl FnOnce() -> String) -> Result<(), Unsound> {
    match props.iter().filter_map(|prop| prop.key.as_deref()).find(|key| bodies::is_mark(key)) {
        Some(key) => Err(Unsound::Reserved { place: place(), name: key.to_owned() }),
        None => Ok(()),
    }
}

/// A declared size below −1 is a mistake; −1 is how some exporters write a free axis.
fn declared(info: &ValueInfoProto) -> Result<(), Unsound> {
    use super::proto::{DimensionValue, TypeValue};
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Ok(());
    };
    for (axis, dim) in tensor.shape.iter().flat_map(|shape| shape.dim.iter().enumerate()) {
        if let Some(DimensionValue::Value(size)) = dim.value
            && size < -1
        {
            return Err(Unsound::NegativeSize { value: info.name().to_owned(), axis, size });
        }
    }
    Ok(())
}

/// Refuses functions that call each other in a circle.
fn recursion(functions: &[FunctionProto]) -> Result<(), Unsound> {
    let index: HashMap<(&str, &str), usize> =
        functions.iter().enumerate().map(|(i, function)| ((function.domain(), function.name()), i)).collect();
    // 0 = not seen, 1 = being visited, 2 = done; a stack of its own, functions may be many.
    let mut state = vec![0_u8; functions.len()];
    let callees: Vec<Vec<usize>> = functions
        .iter()
        .map(|function| {
            let mut found = Vec::new();
            calls(&function.node, &mut found);
            found.into_iter().filter_map(|call| index.get(&call).copied()).collect()
        })
        .collect();
    for start in 0..functions.len() {
        let mut stack = vec![(start, 0)];
        while let Some((current, next)) = stack.pop() {
            if next == 0 {
                match state[current] {
                    1 => return Err(Unsound::RecursiveFunction { function: functions[current].name().to_owned() }),
                    2 => continue,
                    _ => state[current] = 1,
                }
            }
            match callees[current].get(next) {
                Some(callee) => {
                    stack.push((current, next + 1));
                    stack.push((*callee, 0));
                }
                None => state[current] = 2,
            }
        }
    }
    Ok(())
}

/// What the nodes call, their subgraphs included.
fn calls<'f>(nodes: &'f [NodeProto], found: &mut Vec<(&'f str, &'f str)>) {
    for node in nodes {
        found.push((node.domain(), node.op_type()));
        for graph in node.subgraphs() {
            calls(&graph.node, found);
        }
    }
}
