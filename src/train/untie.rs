//! Gives each layer vectors of its own.
//!
//! Exporters store equal tensors once: the fresh biases, scales and running statistics of layers that have nothing to do
//! with each other end up as one initializer. Trained as it stands, they would stay equal for ever, and two normalisations
//! would write their statistics over each other. Matrices that are shared are taken to be tied on purpose (embeddings) and
//! stay so.

use std::collections::{HashMap, HashSet};

use crate::autodiff::parameters::{behind, slots};
use crate::onnx::model::Model;
use crate::onnx::tensor::Tensor;

/// Copies every vector that several parameter slots share. Returns the number of copies.
pub fn untie(model: &mut Model) -> usize {
    let mut copies: Vec<(usize, usize, String, Tensor)> = Vec::new();
    let graph = model.graph();
    let mut taken: HashSet<String> = HashSet::new();
    let mut claims: HashMap<&str, usize> = HashMap::new();
    taken.extend(graph.proto.initializer.iter().map(|tensor| tensor.name().to_owned()));
    taken.extend(graph.proto.node.iter().flat_map(|node| node.output.iter().cloned()));
    for (index, node) in graph.proto.node.iter().enumerate() {
        let statistics: &[usize] = if node.is("BatchNormalization") { &[3, 4] } else { &[] };
        let vectors = slots(node).into_iter().map(|(slot, _)| slot).chain(statistics.iter().copied());
        for slot in vectors {
            let Some(name) = node.input_name(slot).and_then(|name| behind(&graph, name)) else { continue };
            let Some(Ok(tensor)) = graph.constant(name) else { continue };
            if tensor.shape.len() > 1 || tensor.len() < 2 && !node.is("BatchNormalization") {
                continue;
            }
            let claim = claims.entry(name).or_default();
            *claim += 1;
            if *claim > 1 {
                let mut copy = format!("{name}__{claim}");
                while !taken.insert(copy.clone()) {
                    copy.push('_');
                }
                copies.push((index, slot, copy, tensor));
            }
        }
    }
    let count = copies.len();
    let graph = model.graph_proto_mut();
    for (node, slot, name, tensor) in copies {
        graph.initializer.push(tensor.to_proto(&name));
        graph.node[node].input[slot] = name;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;

    #[test]
    fn normalisations_get_parameters_and_statistics_of_their_own_and_tied_matrices_stay_tied() {
        let mut b = GraphBuilder::new("tied");
        let x = b.input("x", DataType::Float, &["n".into(), 2.into()]);
        let ones = b.initializer("ones", &Tensor::from_f32(&[2], &[1.0, 1.0]));
        let zeros = b.initializer("zeros", &Tensor::from_f32(&[2], &[0.0, 0.0]));
        let w = b.initializer("w", &Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]));
        let alias = b.node("Identity", &[&ones], &[]);
        let mut y = x;
        for scale in [&ones, &alias] {
            y = b.node("MatMul", &[&y, &w], &[]);
            y = b.node("BatchNormalization", &[&y, scale, &zeros, &zeros, &ones], &[]);
        }
        b.output(&y, DataType::Float, &["n".into(), 2.into()]);
        let mut model = b.build(18);
        // Of eight places two keep the originals.
        assert_eq!(untie(&mut model), 6);
        let graph = model.graph();
        let mut used: Vec<&str> = graph
            .proto
            .node
            .iter()
            .filter(|n| n.is("BatchNormalization"))
            .flat_map(|n| n.input[1..].iter().map(String::as_str))
            .collect();
        for name in &used {
            assert!(graph.initializer(name).is_some(), "{name}");
        }
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), 8);
        assert!(graph.proto.node.iter().filter(|n| n.is("MatMul")).all(|n| n.input[1] == "w"));
        assert_eq!(untie(&mut model), 0);
    }
}
