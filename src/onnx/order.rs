//! Topological order of nodes. ONNX demands it of a file, runtimes take graphs without it, everything here relies on it.

use std::collections::{BTreeSet, HashMap};

use super::graph::outer_names;
use super::proto::{GraphProto, ModelProto, NodeProto};

/// A graph whose nodes wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The nodes that lie on the cycle or behind it, as messages name them; at most [`NAMED`] of them.
    pub nodes: Vec<String>,
}

/// Nodes of a cycle that a message names.
pub const NAMED: usize = 8;

/// Brings the nodes of every graph and function of a model into topological order, keeping their order where it is one.
/// Gives a sentence for each list that was changed.
pub fn sort_model(model: &mut ModelProto) -> Result<Vec<String>, Cycle> {
    let mut notes = Vec::new();
    if let Some(graph) = &mut model.graph {
        sort_graph(graph, &mut notes)?;
    }
    for function in &mut model.functions {
        let place = format!("function {}", function.name());
        sort_nodes(&mut function.node, &place, &mut notes)?;
    }
    Ok(notes)
}

fn sort_graph(graph: &mut GraphProto, notes: &mut Vec<String>) -> Result<(), Cycle> {
    let place = format!("graph {}", graph.name());
    sort_nodes(&mut graph.node, &place, notes)
}

fn sort_nodes(nodes: &mut Vec<NodeProto>, place: &str, notes: &mut Vec<String>) -> Result<(), Cycle> {
    for attribute in nodes.iter_mut().flat_map(|node| &mut node.attribute) {
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            sort_graph(graph, notes)?;
        }
    }
    let order = order(nodes)?;
    if order.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    let mut taken: Vec<Option<NodeProto>> = std::mem::take(nodes).into_iter().map(Some).collect();
    nodes.extend(order.into_iter().filter_map(|index| taken[index].take()));
    notes.push(format!("the nodes of {place} were not in topological order and were sorted"));
    Ok(())
}

/// Positions of the nodes in topological order, the earliest that can come next first.
pub fn order(nodes: &[NodeProto]) -> Result<Vec<usize>, Cycle> {
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        producer.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), index)));
    }
    let mut waiting = vec![0_usize; nodes.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let inner = node.subgraphs().flat_map(outer_names);
        let sources: BTreeSet<usize> =
            node.input.iter().map(String::as_str).chain(inner).filter_map(|name| producer.get(name).copied()).collect();
        waiting[index] = sources.len();
        for source in sources {
            users[source].push(index);
        }
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|index| waiting[*index] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for user in &users[index] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                ready.insert(*user);
            }
        }
    }
    if order.len() < nodes.len() {
        let stuck = (0..nodes.len()).filter(|index| waiting[*index] > 0).take(NAMED);
        return Err(Cycle { nodes: stuck.map(|index| nodes[index].label()).collect() });
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: Some(op.into()),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    #[test]
    fn sorting_keeps_the_order_where_it_is_one() {
        let nodes =
            [node("B", &["a"], "b"), node("C", &["x"], "c"), node("A", &["x"], "a"), node("D", &["b", "c"], "d")];
        assert_eq!(order(&nodes).unwrap(), [1, 2, 0, 3]);
    }

    #[test]
    fn a_cycle_is_named() {
        let nodes = [node("A", &["b"], "a"), node("B", &["a"], "b"), node("C", &["x"], "c")];
        assert_eq!(order(&nodes), Err(Cycle { nodes: vec!["A a".into(), "B b".into()] }));
    }
}
