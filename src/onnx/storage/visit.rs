//! Every tensor of a model, wherever it stands, with the place that a refusal names.

use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Calls `visit` with each tensor: initializers, parts of sparse ones, attributes, in subgraphs and functions too.
///
/// Messages are nested no deeper than the prescan allows.
///
/// Errors: the first of `visit`.
pub(super) fn tensors<E>(
    model: &mut ModelProto,
    visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let training =
        model.training_info.iter_mut().flat_map(|info| info.initialization.iter_mut().chain(&mut info.algorithm));
    for graph in model.graph.iter_mut().chain(training) {
        of_graph(graph, visit)?;
    }
    for function in &mut model.functions {
        of_nodes(&mut function.node, visit)?;
        for attribute in &mut function.attribute_proto {
            of_attribute(function.name.as_deref().unwrap_or_default(), attribute, visit)?;
        }
    }
    Ok(())
}

fn of_graph<E>(
    graph: &mut GraphProto,
    visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in &mut graph.initializer {
        let name = tensor.name().to_owned();
        visit(&name, tensor)?;
    }
    for sparse in &mut graph.sparse_initializer {
        let name = sparse.values.as_ref().map_or("", TensorProto::name).to_owned();
        for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
            visit(&name, tensor)?;
        }
    }
    of_nodes(&mut graph.node, visit)
}

fn of_nodes<E>(
    nodes: &mut [NodeProto],
    visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for node in nodes {
        if node.attribute.is_empty() {
            continue;
        }
        let label = node.label();
        for attribute in &mut node.attribute {
            of_attribute(&label, attribute, visit)?;
        }
    }
    Ok(())
}

fn of_attribute<E>(
    owner: &str,
    attribute: &mut AttributeProto,
    visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let place = format!("{owner}: {}", attribute.name());
    for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
        visit(&place, tensor)?;
    }
    for sparse in attribute.sparse_tensor.iter_mut().chain(&mut attribute.sparse_tensors) {
        for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
            visit(&place, tensor)?;
        }
    }
    for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
        of_graph(graph, visit)?;
    }
    Ok(())
}
