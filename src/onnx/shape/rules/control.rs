//! Operators with graphs inside: If, Loop, Scan.

use super::{AI, Family};
use crate::onnx::dtype::DataType;
use crate::onnx::proto::GraphProto;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};

pub const FAMILIES: &[Family] = &[(AI, &["If"], branch), (AI, &["Loop"], repeat), (AI, &["Scan"], scan)];

fn body<'a>(call: &Call<'a>, name: &str) -> Result<&'a GraphProto, String> {
    let attribute = call.node.find_attribute(name).and_then(|attribute| attribute.g.as_ref());
    attribute.ok_or_else(|| format!("it has no graph `{name}`"))
}

/// What holds of both: equal sizes stay, others are opaque; ranks that differ are unknown.
pub(super) fn merged(call: &Call, output: usize, a: &Fact, b: &Fact) -> Fact {
    let dtype = if a.dtype == b.dtype { a.dtype } else { None };
    let dims = match (&a.dims, &b.dims) {
        (Some(left), Some(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            Some(pairs.map(|(axis, (x, y))| if x == y { x.clone() } else { call.data(output, axis) }).collect())
        }
        _ => None,
    };
    let value = a.value.clone().filter(|value| b.value.as_ref() == Some(value));
    Fact { dtype, dims, value, floats: None }
}

fn branch(call: &Call) -> Outputs {
    let condition = call.integers(0).and_then(|value| value.elements.first()?.as_known());
    let of = |name: &str| body(call, name).and_then(|graph| call.engine.subgraph(graph, Vec::new()));
    match condition {
        Some(0) => of("else_branch"),
        Some(_) => of("then_branch"),
        None => {
            let (yes, no) = (of("then_branch")?, of("else_branch")?);
            Ok(yes.iter().zip(&no).enumerate().map(|(output, (a, b))| merged(call, output, a, b)).collect())
        }
    }
}

/// Facts of values that a loop carries: what a first pass through the body leaves unchanged. Elements are dropped, they
/// may change with each turn.
fn carried(
    call: &Call,
    graph: &GraphProto,
    fixed: &[Fact],
    start: &[Fact],
    extra: &[Fact],
    skip: usize,
) -> Result<(Vec<Fact>, Vec<Fact>), String> {
    let plain = |fact: &Fact| Fact { value: None, floats: None, ..fact.clone() };
    let mut state: Vec<Fact> = start.iter().map(plain).collect();
    // Merging only loses knowledge, so a second pass settles sizes; what still changes then is unknown.
    for _ in 0..3 {
        let inputs = fixed.iter().chain(&state).chain(extra).cloned().collect();
        let outputs = call.engine.subgraph(graph, inputs)?;
        let after = outputs.get(skip..skip + state.len()).ok_or("its body has too few outputs")?;
        let next: Vec<Fact> =
            state.iter().zip(after).enumerate().map(|(i, (a, b))| merged(call, i, a, &plain(b))).collect();
        if next == state {
            return Ok((state, outputs));
        }
        state = next;
    }
    let state: Vec<Fact> = state.iter().map(|fact| Fact::of_dtype(fact.dtype)).collect();
    let inputs = fixed.iter().chain(&state).chain(extra).cloned().collect();
    Ok((state, call.engine.subgraph(graph, inputs)?))
}

fn facts(call: &Call, from: usize) -> Vec<Fact> {
    (from..call.inputs.len()).map(|slot| call.optional(slot).cloned().unwrap_or_default()).collect()
}

fn repeat(call: &Call) -> Outputs {
    let graph = body(call, "body")?;
    let fixed = [Fact::new(Some(DataType::Int64), vec![]), Fact::new(Some(DataType::Bool), vec![])];
    let (mut outputs, after) = carried(call, graph, &fixed, &facts(call, 2), &[], 1)?;
    let stacked = after.into_iter().skip(1 + outputs.len()).collect::<Vec<_>>();
    let count = call.data(outputs.len(), 0);
    for fact in stacked {
        let dims = fact.dims.map(|dims| std::iter::once(count.clone()).chain(dims).collect());
        outputs.push(Fact { dims, ..Fact::of_dtype(fact.dtype) });
    }
    Ok(outputs)
}

fn scan(call: &Call) -> Outputs {
    if call.opset < 9 {
        return Err("the first version of Scan, with a batch axis, is not followed".into());
    }
    let graph = body(call, "body")?;
    let scanned = usize::try_from(call.int("num_scan_inputs", 0)).unwrap_or(usize::MAX);
    let states = call.inputs.len().checked_sub(scanned).ok_or("it scans more inputs than it has")?;
    let axes = |name: &str| call.node.ints(name).map(<[i64]>::to_vec).unwrap_or_default();
    let (in_axes, out_axes) = (axes("scan_input_axes"), axes("scan_output_axes"));
    let mut length: Option<Dim> = None;
    let mut slices = Vec::new();
    for (i, slot) in (states..call.inputs.len()).enumerate() {
        let mut dims = call.dims(slot)?.to_vec();
        let axis = super::super::fact::axis_of(in_axes.get(i).copied().unwrap_or(0), dims.len())?;
        let size = dims.remove(axis);
        length.get_or_insert(size);
        slices.push(Fact::new(call.dtype(slot), dims));
    }
    let start: Vec<Fact> = facts(call, 0).into_iter().take(states).collect();
    let (mut outputs, after) = carried(call, graph, &[], &start, &slices, 0)?;
    let length = length.ok_or("it scans nothing")?;
    for (i, fact) in after.into_iter().skip(states).enumerate() {
        let dims = match fact.dims {
            Some(mut dims) => {
                let axis = super::super::fact::axis_of(out_axes.get(i).copied().unwrap_or(0), dims.len() + 1)?;
                dims.insert(axis, length.clone());
                Some(dims)
            }
            None => None,
        };
        outputs.push(Fact { dims, ..Fact::of_dtype(fact.dtype) });
    }
    Ok(outputs)
}
