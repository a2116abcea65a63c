//! How often the body of a Loop or Scan runs, where that can be told from the file.

use super::OpenSizes;
use crate::onnx::bodies::{DOMAIN, carried};
use crate::onnx::graph::Graph;
use crate::onnx::shape::{Inferred, ShapeValue};

/// How often a body runs that has so many turns (`value`) in a laid out model: the length of what a Scan slices, or the
/// count of a Loop whose condition does not end it before.
///
/// Errors: why that is not known, in a sentence.
pub fn turns(graph: &Graph<'_>, inferred: &Inferred, open: &OpenSizes, value: &str) -> Result<u64, String> {
    let begin = graph.producer(value).map(|(begin, _)| graph.node(begin));
    let label = begin.map(|begin| begin.output.get(1).map_or("", String::as_str)).unwrap_or_default();
    let untold = |reason: &str| format!("how often the body with `{label}` runs is not known: {reason}");
    let Some(begin) = begin.filter(|begin| begin.op_type() == "LoopBegin") else {
        let length =
            inferred.dims(value).and_then(|dims| dims.first()).ok_or_else(|| untold("its length is unknown"))?;
        return open.resolve(length).map_err(|reason| untold(&reason));
    };
    let count = begin.input_name(0).and_then(|count| number(inferred, count));
    let count = count.ok_or_else(|| untold("its count is computed, or left out"))?;
    let starts = begin.input_name(1).is_none_or(|condition| number(inferred, condition) == Some(1));
    if !starts || !goes_on(graph, inferred, value, begin.output.get(2).map_or("", String::as_str)) {
        return Err(untold("a condition that is computed may end it"));
    }
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Whether every turn gives the condition that it was given, or a constant that holds.
fn goes_on(graph: &Graph<'_>, inferred: &Inferred, turns: &str, given: &str) -> bool {
    let end = graph.uses(turns).iter().map(|used| graph.node(used.node)).find(|node| node.operator_domain() == DOMAIN);
    let Some(mut name) = end.and_then(|end| end.input_name(1 + carried(end))) else { return false };
    // A graph has no cycles; the bound holds for one that was not checked.
    for _ in 0..=graph.proto.node.len() {
        if name == given || number(inferred, name) == Some(1) {
            return true;
        }
        let Some((maker, _)) = graph.producer(name) else { return false };
        let maker = graph.node(maker);
        match maker.input_name(0) {
            Some(before) if maker.is("Identity") || maker.is("Cast") => name = before,
            _ => return false,
        }
    }
    false
}

fn number(inferred: &Inferred, name: &str) -> Option<i64> {
    match inferred.value(name).and_then(ShapeValue::known).as_deref() {
        Some([number]) => Some(*number),
        _ => None,
    }
}
