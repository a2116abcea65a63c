//! From graphs in nodes to one list of nodes.

use std::collections::HashSet;

use super::carried;
use super::place::LaidOut;
use super::writer::Writer;
use crate::onnx::graph::NodeIndex;
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::{Inferred, ShapeValue, infer};

/// The model with the graphs of its nodes laid out; `None` where none can be. A branch that is always taken takes the place
/// of its node. What stays as it is: a loop that carries a value whose size changes from turn to turn, bodies with shapes that
/// are not known, branches of different ranks among them, operators that are not known here, and whatever holds such a node.
pub fn lay_out(model: &Model) -> Option<LaidOut> {
    let graph = model.graph_proto();
    let has_bodies = |node: &NodeProto| node.subgraphs().next().is_some();
    let mut staying: HashSet<NodeIndex> = HashSet::new();
    let mut known: Option<Inferred> = None;
    loop {
        if graph.node.iter().enumerate().all(|(index, node)| !has_bodies(node) || staying.contains(&index)) {
            return None;
        }
        let known = known.get_or_insert_with(|| infer(model));
        let mut writer = Writer::new(model);
        let mut ranges = Vec::new();
        for (index, node) in graph.node.iter().enumerate() {
            if has_bodies(node) && !staying.contains(&index) {
                let condition = known.value(node.input_name(0).unwrap_or_default()).and_then(ShapeValue::known);
                let taken = match condition.as_deref() {
                    Some([condition]) if node.is("If") => Some(*condition != 0),
                    _ => None,
                };
                let start = writer.nodes.len();
                if writer.lay_out(node, index, taken).is_ok() {
                    ranges.push((start..writer.nodes.len(), index));
                    continue;
                }
                staying.insert(index);
            }
            writer.keep(node, index);
        }
        let mut laid_out = model.clone();
        let Writer { nodes, initializers, ends, places, constants, graphs, .. } = writer;
        let proto = laid_out.graph_proto_mut();
        proto.node = nodes;
        proto.initializer.extend(initializers);
        let inferred = infer(&laid_out);
        let mut unknown: Vec<NodeIndex> = inferred.unknown().iter().map(|unknown| unknown.node).collect();
        unknown.sort_unstable();
        let has_unknown = |range: &std::ops::Range<NodeIndex>| {
            let first = unknown.partition_point(|node| *node < range.start);
            unknown.get(first).is_some_and(|node| *node < range.end)
        };
        let nodes = &laid_out.graph_proto().node;
        // The ends of what stays were taken back; their places hold other nodes by now.
        let unsteady = ends.into_iter().filter(|(end, place)| {
            !staying.contains(place) && nodes.get(*end).is_some_and(|end| !is_steady(end, &inferred))
        });
        let unshaped = ranges.into_iter().filter(|(range, _)| has_unknown(range));
        let stays: Vec<NodeIndex> = unsteady.map(|(_, place)| place).chain(unshaped.map(|(_, place)| place)).collect();
        if stays.is_empty() {
            return Some(LaidOut { model: laid_out, places, constants, graphs });
        }
        staying.extend(stays);
    }
}

/// Whether what a loop carries has one shape at every turn.
fn is_steady(end: &NodeProto, inferred: &Inferred) -> bool {
    let carried = carried(end);
    let first = 1 + carried + usize::from(end.op_type() == "Loop");
    (0..carried).all(|at| {
        let (before, after) = (end.input_name(1 + at), end.input_name(first + at));
        let dims = |name: Option<&str>| name.and_then(|name| inferred.dims(name));
        dims(before).is_some() && dims(before) == dims(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attribute::Attribute;
    use crate::onnx::builder::{GraphBuilder, value_info};
    use crate::onnx::dtype::DataType;
    use crate::onnx::proto::{AttributeProto, GraphProto};

    /// Each new name was once looked for from the first on, so that this many took minutes.
    #[test]
    fn thousands_of_bodies_with_the_same_names_are_laid_out_and_named_one_after_the_other() {
        const COUNT: usize = 10_000;
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &["n".into(), 4.into()]);
        let condition = b.input("c", DataType::Bool, &[]);
        let mut graph = b.into_graph();
        let node = |op: &str, input: &str, output: &str| NodeProto {
            op_type: Some(op.to_owned()),
            input: vec![input.to_owned()],
            output: vec![output.to_owned()],
            ..NodeProto::default()
        };
        for at in 0..COUNT {
            let body = |attribute: &str, op: &str| AttributeProto {
                name: Some(attribute.to_owned()),
                r#type: Some(5),
                g: Some(GraphProto {
                    node: vec![node(op, &x, "t")],
                    output: vec![value_info("t", DataType::Float, &["n".into(), 4.into()])],
                    ..GraphProto::default()
                }),
                ..AttributeProto::default()
            };
            let mut chosen = node("If", &condition, &format!("y{at}"));
            chosen.attribute = vec![body("then_branch", "Relu"), body("else_branch", "Tanh")];
            graph.node.push(chosen);
        }
        let mut b = GraphBuilder::from_graph(graph);
        let y = b.node("Concat", &["y0", &format!("y{}", COUNT - 1)], &[("axis", Attribute::Int(1))]);
        b.output(&y, DataType::Float, &["n".into(), 8.into()]);
        let laid_out = lay_out(&b.build(17)).unwrap();
        let names: HashSet<&str> =
            laid_out.model.graph_proto().node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        assert!(names.contains("t") && names.contains(format!("t_in{}", 2 * COUNT - 1).as_str()));
    }
}
