//! What is told of a model without running it.
//!
//! Counting parameters and multiply-accumulates belongs to a layer above; their figures are handed in.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::model::Model;
use super::proto::{DimensionValue, TypeValue, ValueInfoProto};
use super::shape::{Dim, Inferred, Symbol};
use crate::spec::summary::{Axis, ModelSummary, ValueSummary};

/// The summary of a model with what its import found, its parameters, and its multiply-accumulates or why they are unknown.
pub fn summarize(
    model: &Model,
    inferred: &Inferred,
    import_notes: Vec<String>,
    parameters: u64,
    macs: Result<u64, String>,
) -> ModelSummary {
    let graph = model.graph();
    let mut notes = import_notes;
    notes.extend(remarks(model, &graph, inferred));
    let domain = |name: &str| if name.is_empty() { "ai.onnx".to_owned() } else { name.to_owned() };
    let opsets: BTreeMap<String, i64> =
        model.proto.opset_import.iter().map(|set| (domain(set.domain()), set.version())).collect();
    let producer = [model.proto.producer_name(), model.proto.producer_version()].join(" ").trim().to_owned();
    let (macs, macs_unknown) = match macs {
        Ok(macs) => (Some(macs), None),
        Err(reason) => (None, Some(reason)),
    };
    ModelSummary {
        inputs: graph.fed_inputs().map(|info| value(info, inferred)).collect(),
        outputs: graph.proto.output.iter().map(|info| value(info, inferred)).collect(),
        opsets,
        ir_version: model.proto.ir_version(),
        producer: (!producer.is_empty()).then_some(producer),
        nodes: graph.proto.node.len() as u64,
        parameters,
        macs,
        macs_unknown,
        notes,
    }
}

/// A value as it was inferred; where nothing was, as it is declared.
fn value(info: &ValueInfoProto, inferred: &Inferred) -> ValueSummary {
    let declared = super::shape::declared(info);
    let dtype = inferred.dtype(info.name()).or(declared.dtype);
    let dims = inferred.dims(info.name()).map(<[Dim]>::to_vec).or(declared.dims);
    ValueSummary {
        name: info.name().to_owned(),
        dtype: dtype.map_or_else(|| "unknown".to_owned(), |dtype| dtype.name().to_owned()),
        shape: dims.map(|dims| dims.iter().map(axis).collect()),
    }
}

/// The size of an axis as a reader takes it in.
pub fn axis(dim: &Dim) -> Axis {
    match (dim.as_known().map(u64::try_from), dim.as_symbol()) {
        (Some(Ok(size)), _) => Axis::Size(size),
        // A name that was made up for an axis without one tells nothing.
        (None, Some(Symbol::Named(name))) if !name.ends_with(']') => Axis::Symbol(name.to_string()),
        (None, None)
            if dim.symbols().iter().all(|symbol| matches!(symbol, Symbol::Named(name) if !name.ends_with(']'))) =>
        {
            Axis::Symbol(dim.to_string())
        }
        _ => Axis::Unknown,
    }
}

/// What is odd, but harmless or dealt with.
fn remarks(model: &Model, graph: &Graph, inferred: &Inferred) -> Vec<String> {
    let mut notes = Vec::new();
    let listed = graph.proto.input.iter().filter(|info| graph.initializer(info.name()).is_some()).count();
    if listed > 0 {
        notes.push(format!("{listed} initializers are listed as inputs; they are taken as constants"));
    }
    let stale: Vec<&str> = (graph.proto.value_info.iter().chain(&graph.proto.output))
        .filter(|info| contradicts(info, inferred))
        .map(ValueInfoProto::name)
        .collect();
    if let Some(first) = stale.first() {
        notes
            .push(format!("{} declared shapes are stale, the first that of `{first}`; they are not used", stale.len()));
    }
    if let Some((info, size)) = graph.fed_inputs().find_map(|info| match inferred.dims(info.name())? {
        [first, _, ..] => Some((info, first.as_known()?)),
        _ => None,
    }) {
        notes.push(format!("the batch is fixed at {size} by the export (input `{}`)", info.name()));
    }
    let mut domains: Vec<&str> = graph.proto.node.iter().map(super::proto::NodeProto::operator_domain).collect();
    domains.sort_unstable();
    domains.dedup();
    for domain in domains.into_iter().filter(|domain| !matches!(*domain, "" | "ai.onnx.ml" | "com.microsoft")) {
        if !model.proto.functions.iter().any(|function| function.domain() == domain) {
            notes.push(format!("operators of the domain `{domain}` are not known and stay as they are"));
        }
    }
    if let Some(first) = inferred.unknown().first() {
        let count = inferred.unknown().len();
        notes.push(format!(
            "{count} values have unknown shapes, the first `{}` of {}: {}",
            first.value, first.label, first.reason
        ));
    }
    notes
}

/// Whether a declared shape cannot be true.
fn contradicts(info: &ValueInfoProto, inferred: &Inferred) -> bool {
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return false;
    };
    let (Some(shape), Some(dims)) = (&tensor.shape, inferred.dims(info.name())) else { return false };
    let differs = |(declared, found): (&super::proto::Dimension, &Dim)| match (&declared.value, found.as_known()) {
        (Some(DimensionValue::Value(size)), Some(found)) => *size >= 0 && *size != found,
        _ => false,
    };
    shape.dim.len() != dims.len() || shape.dim.iter().zip(dims).any(differs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::{GraphBuilder, value_info};
    use crate::onnx::dtype::DataType;
    use crate::onnx::shape::infer;
    use crate::onnx::tensor::Tensor;

    #[test]
    fn a_summary_tells_shapes_and_what_is_odd() {
        let mut b = GraphBuilder::new("odd");
        let x = b.input("x", DataType::Float, &[1.into(), "length".into()]);
        let w = b.initializer("w", &Tensor::from_f32(&[1, 1], &[2.0]));
        let y = b.node("Mul", &[&x, &w], &[]);
        b.output(&y, DataType::Float, &[1.into(), "length".into()]);
        let mut model = b.build(17);
        model.graph_proto_mut().input.push(value_info("w", DataType::Float, &[1.into(), 1.into()]));
        model.graph_proto_mut().value_info.push(value_info(&y, DataType::Float, &[7.into()]));
        let summary = summarize(&model, &infer(&model), Vec::new(), 1, Err("no reason".into()));
        assert_eq!(summary.inputs.len(), 1);
        assert_eq!(summary.outputs[0].shape, Some(vec![Axis::Size(1), Axis::Symbol("length".into())]));
        assert_eq!((summary.macs, summary.macs_unknown.as_deref()), (None, Some("no reason")));
        let all = summary.notes.join("\n");
        assert!(
            all.contains("1 initializers are listed") && all.contains("stale") && all.contains("fixed at 1"),
            "{all}"
        );
    }
}
