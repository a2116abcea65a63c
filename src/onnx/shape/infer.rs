//! The walk over a graph: inputs and initializers first, then each node by its rule, subgraphs and functions inside.
//!
//! `value_info` is not trusted, it may be stale. The walk visits a bounded number of nodes and keeps a bounded number of
//! elements, so that functions that call functions cannot make it endless.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::dim::{Dim, Symbol};
use super::fact::{Call, Fact, MAX_RANK, Outputs};
use super::rules;
use super::value::ShapeValue;
use super::{Inferred, Unknown};
use crate::onnx::dtype::DataType;
use crate::onnx::inline::with_attributes;
use crate::onnx::model::Model;
use crate::onnx::proto::{
    DimensionValue, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto, TypeValue, ValueInfoProto,
};
use crate::onnx::tensor::Tensor;

/// Nodes visited in one inference, those of functions counted at every call: more than a file within the default limits has.
const MAX_VISITS: usize = 500_000;
/// Elements of shape values kept in one inference.
const MAX_KEPT_ELEMENTS: usize = 4_000_000;
/// Functions and subgraphs inside each other.
const MAX_DEPTH: usize = 48;
/// Elements of a floating-point constant that rules may look at (scales of Resize, a range's ends).
const MAX_FLOATS: usize = 16;

/// What rules need beyond their node.
#[derive(Debug)]
pub struct Engine<'a> {
    functions: Rc<HashMap<(&'a str, &'a str), &'a FunctionProto>>,
    opsets: Rc<HashMap<&'a str, i64>>,
    /// The scopes around the node, innermost last.
    scopes: Vec<&'a HashMap<String, Fact>>,
    depth: usize,
    visits: &'a Cell<usize>,
    elements: &'a Cell<usize>,
}

/// Sizes given for the inputs.
pub type InputShapes = BTreeMap<String, Vec<i64>>;

/// Infers a model's main graph.
pub fn infer_model(model: &Model, inputs: &InputShapes) -> Inferred {
    let (visits, elements) = (Cell::new(MAX_VISITS), Cell::new(MAX_KEPT_ELEMENTS));
    let engine = Engine {
        functions: Rc::new(model.proto.functions.iter().map(|f| ((plain_domain(f.domain()), f.name()), f)).collect()),
        opsets: Rc::new(opsets(&model.proto.opset_import)),
        scopes: Vec::new(),
        depth: 0,
        visits: &visits,
        elements: &elements,
    };
    let graph = model.graph_proto();
    let initialized: std::collections::HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let fed: Vec<&ValueInfoProto> = graph.input.iter().filter(|info| !initialized.contains(info.name())).collect();
    let bound = bindings(&fed, inputs);
    let facts = fed
        .iter()
        .map(|info| {
            let mut fact = declared(info);
            if let Some(dims) = &mut fact.dims {
                for dim in dims.iter_mut() {
                    if let Some(size) = dim.as_symbol().and_then(|symbol| bound.get(symbol)) {
                        *dim = Dim::known(*size);
                    }
                }
            }
            if let Some(shape) = inputs.get(info.name()) {
                fact.dims = Some(shape.iter().map(|size| Dim::known(*size)).collect());
            }
            (info.name().to_owned(), fact)
        })
        .collect();
    engine.graph(graph, facts)
}

/// Named axes whose size follows from the given shapes.
fn bindings(fed: &[&ValueInfoProto], inputs: &InputShapes) -> HashMap<Symbol, i64> {
    let mut bound = HashMap::new();
    for info in fed {
        let (Some(shape), Some(dims)) = (inputs.get(info.name()), declared(info).dims) else { continue };
        for (dim, size) in dims.iter().zip(shape) {
            if let Some(symbol) = dim.as_symbol() {
                bound.entry(symbol.clone()).or_insert(*size);
            }
        }
    }
    bound
}

fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn opsets(imports: &[OperatorSetIdProto]) -> HashMap<&str, i64> {
    imports.iter().map(|set| (plain_domain(set.domain()), set.version())).collect()
}

/// What a declaration says; unnamed sizes get a symbol made of value and axis.
pub fn declared(info: &ValueInfoProto) -> Fact {
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Fact::default();
    };
    let dims = tensor.shape.as_ref().filter(|shape| shape.dim.len() <= MAX_RANK).map(|shape| {
        let size = |(axis, dim): (usize, &crate::onnx::proto::Dimension)| match &dim.value {
            Some(DimensionValue::Value(size)) if *size >= 0 => Dim::known(*size),
            Some(DimensionValue::Param(name)) if !name.is_empty() => Dim::symbol(name),
            _ => Dim::symbol(&format!("{}[{axis}]", info.name())),
        };
        shape.dim.iter().enumerate().map(size).collect()
    });
    Fact { dtype: tensor.elem_type.and_then(DataType::from_number), dims, ..Fact::default() }
}

/// What is known of a constant under the name of the value that holds it.
pub fn constant(name: &str, proto: &TensorProto) -> Fact {
    let dtype = DataType::from_number(proto.data_type());
    if proto.dims.len() > MAX_RANK {
        return Fact::of_dtype(dtype);
    }
    let fact = Fact::new(dtype, proto.dims.iter().map(|size| Dim::known(*size)).collect());
    let few = proto.dims.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
    if !few.is_some_and(|count| (0..=super::value::MAX_ELEMENTS as i64).contains(&count)) {
        return fact;
    }
    match Tensor::from_proto(proto) {
        Ok(tensor) => of_tensor(name, &tensor),
        Err(_) => fact,
    }
}

/// What is known of a constant tensor.
pub fn of_tensor(name: &str, tensor: &Tensor) -> Fact {
    let mut fact = Fact::new(Some(tensor.dtype), tensor.shape.iter().map(|size| Dim::known(*size as i64)).collect());
    fact.value = ShapeValue::from_constant(name, tensor);
    if tensor.len() <= MAX_FLOATS {
        fact.floats = tensor.to_f32().ok().map(|floats| floats.iter().copied().collect());
    }
    fact
}

impl Engine<'_> {
    /// The facts of a graph whose inputs are known.
    fn graph(&self, graph: &GraphProto, inputs: Vec<(String, Fact)>) -> Inferred {
        let mut facts: HashMap<String, Fact> = inputs.into_iter().collect();
        for tensor in &graph.initializer {
            facts.insert(tensor.name().to_owned(), self.kept(constant(tensor.name(), tensor)));
        }
        for sparse in &graph.sparse_initializer {
            let Some(values) = &sparse.values else { continue };
            let dims = sparse.dims.iter().map(|size| Dim::known(*size)).collect();
            facts.insert(values.name().to_owned(), Fact::new(DataType::from_number(values.data_type()), dims));
        }
        self.nodes(graph.node.iter(), facts)
    }

    fn nodes<'n>(&self, nodes: impl Iterator<Item = &'n NodeProto>, facts: HashMap<String, Fact>) -> Inferred {
        let mut inferred = Inferred { facts, unknown: Vec::new() };
        for (index, node) in nodes.enumerate() {
            let left = self.visits.get();
            let result = if left == 0 {
                Err("the graph calls functions more often than is followed".to_owned())
            } else {
                self.visits.set(left - 1);
                self.node(node, &inferred.facts)
            };
            let (found, reason) = match result {
                Ok(found) => (found, "its rule does not tell this output".to_owned()),
                Err(reason) => (Vec::new(), reason),
            };
            let mut found = found.into_iter();
            for name in &node.output {
                let fact = found.next().unwrap_or_default();
                if name.is_empty() {
                    continue;
                }
                if fact.dims.as_ref().is_none_or(|dims| dims.len() > MAX_RANK) {
                    let reason = reason.clone();
                    inferred.unknown.push(Unknown { node: index, label: node.label(), value: name.clone(), reason });
                    inferred.facts.insert(name.clone(), Fact::of_dtype(fact.dtype));
                } else {
                    inferred.facts.insert(name.clone(), self.kept(fact));
                }
            }
        }
        inferred
    }

    fn node(&self, node: &NodeProto, facts: &HashMap<String, Fact>) -> Outputs {
        let domain = node.operator_domain();
        let inputs = node
            .input
            .iter()
            .map(|name| match name.as_str() {
                "" => None,
                name => Some(self.find(name, facts).cloned().unwrap_or_default()),
            })
            .collect();
        let mut engine = self.inner();
        engine.scopes.push(facts);
        if let Some(function) = self.functions.get(&(domain, node.op_type())) {
            return engine.call(function, node, inputs);
        }
        let Some(rule) = rules::find(domain, node.op_type()) else {
            let domain = if domain.is_empty() { "ai.onnx" } else { domain };
            return Err(format!("there is no shape rule for {domain}::{}", node.op_type()));
        };
        let opset = self.opsets.get(domain).copied().unwrap_or(1);
        rule(&Call { node, opset, inputs, engine: &engine })
    }

    fn find<'f>(&'f self, name: &str, facts: &'f HashMap<String, Fact>) -> Option<&'f Fact> {
        facts.get(name).or_else(|| self.scopes.iter().rev().find_map(|scope| scope.get(name)))
    }

    fn inner(&self) -> Engine<'_> {
        Engine {
            functions: Rc::clone(&self.functions),
            opsets: Rc::clone(&self.opsets),
            scopes: self.scopes.clone(),
            depth: self.depth + 1,
            visits: self.visits,
            elements: self.elements,
        }
    }

    /// The outputs of a node's subgraph, given what its inputs are.
    ///
    /// Errors: subgraphs nested too deep.
    pub fn subgraph(&self, graph: &GraphProto, inputs: Vec<Fact>) -> Outputs {
        if self.depth > MAX_DEPTH {
            return Err("graphs are nested too deep".into());
        }
        let inputs = graph.input.iter().zip(inputs).map(|(info, fact)| (info.name().to_owned(), fact)).collect();
        let inferred = self.graph(graph, inputs);
        let fact = |info: &ValueInfoProto| self.find(info.name(), &inferred.facts).cloned().unwrap_or_default();
        Ok(graph.output.iter().map(fact).collect())
    }

    /// The outputs of a call of a function of the model, its body inferred with the caller's attributes.
    fn call(&self, function: &FunctionProto, node: &NodeProto, inputs: Vec<Option<Fact>>) -> Outputs {
        if self.depth > MAX_DEPTH {
            return Err("functions are nested too deep".into());
        }
        let mut engine = self.inner();
        engine.scopes.clear();
        if !function.opset_import.is_empty() {
            engine.opsets = Rc::new(opsets(&function.opset_import));
        }
        let facts = function.input.iter().zip(inputs).filter_map(|(name, fact)| Some((name.clone(), fact?))).collect();
        let body: Vec<Cow<NodeProto>> =
            function.node.iter().map(|inner| with_attributes(inner, node, function)).collect();
        let inferred = engine.nodes(body.iter().map(AsRef::as_ref), facts);
        Ok(function.output.iter().map(|name| inferred.facts.get(name).cloned().unwrap_or_default()).collect())
    }

    /// The fact, without its elements where too many are kept already.
    fn kept(&self, mut fact: Fact) -> Fact {
        if let Some(value) = &fact.value {
            match self.elements.get().checked_sub(value.elements.len()) {
                Some(left) => self.elements.set(left),
                None => fact.value = None,
            }
        }
        fact
    }
}
