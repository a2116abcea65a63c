//! Where bodies of If, Loop and Scan that were laid out begin and end.

use super::Family;
use super::control::merged;
use crate::onnx::bodies::{self, DOMAIN};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::fact::{Call, Fact, Outputs, axis_of};

pub const FAMILIES: &[Family] = &[
    (DOMAIN, &["If"], branch),
    (DOMAIN, &["LoopBegin"], loop_begin),
    (DOMAIN, &["ScanBegin"], scan_begin),
    (DOMAIN, &["Loop", "Scan"], end),
];

fn fact(call: &Call, slot: usize) -> Fact {
    call.optional(slot).cloned().unwrap_or_default()
}

/// What is carried may have other elements at each turn.
fn carried(call: &Call, slot: usize) -> Fact {
    Fact { value: None, floats: None, ..fact(call, slot) }
}

/// What holds of both branches.
fn branch(call: &Call) -> Outputs {
    let count = call.node.output.len();
    Ok((0..count)
        .map(|output| merged(call, output, &fact(call, 1 + output), &fact(call, 1 + count + output)))
        .collect())
}

fn loop_begin(call: &Call) -> Outputs {
    let turns = Fact::new(Some(DataType::Int64), vec![call.data(0, 0)]);
    let (turn, condition) = (Fact::new(Some(DataType::Int64), vec![]), Fact::new(Some(DataType::Bool), vec![]));
    let state = (2..call.inputs.len()).map(|slot| carried(call, slot));
    Ok([turns, turn, condition].into_iter().chain(state).collect())
}

fn scan_begin(call: &Call) -> Outputs {
    let states = bodies::carried(call.node);
    let axes = call.node.ints("scan_input_axes").unwrap_or_default();
    let mut outputs = vec![Fact::default()];
    outputs.extend((0..states).map(|slot| carried(call, slot)));
    for (at, slot) in (states..call.inputs.len()).enumerate() {
        let mut dims = call.dims(slot)?.to_vec();
        let axis = axis_of(axes.get(at).copied().unwrap_or(0), dims.len())?;
        let length = dims.remove(axis);
        if at == 0 {
            outputs[0] = Fact::new(Some(DataType::Int64), vec![length]);
        }
        outputs.push(Fact::new(call.dtype(slot), dims));
    }
    Ok(outputs)
}

fn end(call: &Call) -> Outputs {
    let states = bodies::carried(call.node);
    let first = 1 + states + usize::from(call.node.op_type() == "Loop");
    let axes = call.node.ints("scan_output_axes").unwrap_or_default();
    let length = call.dims(0)?.first().ok_or("how often its body runs is not known")?;
    let mut outputs: Vec<Fact> =
        (0..states).map(|at| merged(call, at, &carried(call, 1 + at), &carried(call, first + at))).collect();
    for (at, slot) in (first + states..call.inputs.len()).enumerate() {
        let Fact { dtype, dims, .. } = fact(call, slot);
        let dims = match dims {
            Some(mut dims) => {
                let axis = axis_of(axes.get(at).copied().unwrap_or(0), dims.len() + 1)?;
                dims.insert(axis, length.clone());
                Some(dims)
            }
            None => None,
        };
        outputs.push(Fact { dims, ..Fact::of_dtype(dtype) });
    }
    Ok(outputs)
}
