//! Recurrent operators: LSTM, GRU, RNN.

use super::{AI, Family, MS};
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};

pub const FAMILIES: &[Family] = &[(AI, &["LSTM", "GRU", "RNN"], recurrent), (MS, &["DynamicQuantizeLSTM"], recurrent)];

fn recurrent(call: &Call) -> Outputs {
    let [first, second, _] = call.dims(0)? else { return Err("its input does not have 3 axes".into()) };
    let batch_first = call.int("layout", 0) != 0;
    let (sequence, batch) = if batch_first { (second, first) } else { (first, second) };
    let directions = Dim::known(if call.node.text("direction") == Some("bidirectional") { 2 } else { 1 });
    let hidden = match call.node.int("hidden_size") {
        Some(size) => Dim::known(size),
        None => call.dims(2)?.last().ok_or("its recurrence weights have no axis")?.clone(),
    };
    let (all, last) = if batch_first {
        (
            vec![batch.clone(), sequence.clone(), directions.clone(), hidden.clone()],
            vec![batch.clone(), directions, hidden],
        )
    } else {
        (
            vec![sequence.clone(), directions.clone(), batch.clone(), hidden.clone()],
            vec![directions, batch.clone(), hidden],
        )
    };
    let dtype = call.dtype(0);
    Ok(vec![Fact::new(dtype, all), Fact::new(dtype, last.clone()), Fact::new(dtype, last)])
}
