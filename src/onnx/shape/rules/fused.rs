//! ONNX Runtime's fused transformer operators.

use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};

pub const FAMILIES: &[Family] = &[
    (MS, &["EmbedLayerNormalization"], embed),
    (MS, &["Attention", "QAttention"], attention),
    (MS, &["MultiHeadAttention", "DecoderMaskedMultiHeadAttention"], multi_head),
    (MS, &["GroupQueryAttention"], grouped_query),
    (MS, &["RotaryEmbedding"], rotary),
    (AI, &["RotaryEmbedding"], rotary),
    (AI, &["Attention"], standard_attention),
];

/// Token ids [batch, length] and embeddings [vocabulary, hidden] to [batch, length, hidden] and a mask index \[batch].
fn embed(call: &Call) -> Outputs {
    let [batch, length] = call.dims(0)? else { return Err("its ids do not have 2 axes".into()) };
    let hidden = call.dims(2)?.last().ok_or("its embedding has no axis")?.clone();
    let hidden_state = Fact::new(call.dtype(2), vec![batch.clone(), length.clone(), hidden]);
    let mask = Fact::new(Some(DataType::Int32), vec![batch.clone()]);
    Ok(vec![hidden_state.clone(), mask, hidden_state])
}

/// Input [batch, length, hidden], weights [hidden, q + k + v], where v is the size of the result.
fn attention(call: &Call) -> Outputs {
    let [batch, length, _] = call.dims(0)? else { return Err("its input does not have 3 axes".into()) };
    let packed = call.dims(1)?.last().ok_or("its weights have no axis")?;
    let out = match call.node.ints("qkv_hidden_sizes") {
        Some([_, _, value]) => Dim::known(*value),
        _ => packed.floor_div(&Dim::known(3)),
    };
    Ok(vec![Fact::new(call.dtype(0), vec![batch.clone(), length.clone(), out])])
}

/// Query [batch, length, hidden]; the value's hidden size is the result's.
fn multi_head(call: &Call) -> Outputs {
    let [batch, length, hidden] = call.dims(0)? else { return Err("its packed query is not followed".into()) };
    let out = match call.optional(2).and_then(|fact| fact.dims.as_deref()) {
        Some([_, _, hidden]) => hidden.clone(),
        Some([_, heads, _, size]) => heads.mul(size),
        _ => hidden.clone(),
    };
    Ok(vec![Fact::new(call.dtype(0), vec![batch.clone(), length.clone(), out])])
}

fn grouped_query(call: &Call) -> Outputs {
    if call.optional(1).is_none() {
        return Err("its packed query is not followed".into());
    }
    let y = Fact::new(call.dtype(0), call.dims(0)?.to_vec());
    // What is handed on, `[n, heads, length, size]`, is as long as the keys where none came in.
    let heads = call.node.int("kv_num_heads").filter(|heads| *heads > 0).map(Dim::known);
    let ([batch, length, hidden], Some(heads), None) = (call.dims(1)?, heads, call.optional(3)) else {
        return Ok(vec![y]);
    };
    let size = hidden.floor_div(&heads);
    let present = Fact::new(call.dtype(0), vec![batch.clone(), heads, length.clone(), size]);
    Ok(vec![y, present.clone(), present])
}

fn rotary(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.to_vec())])
}

/// Inputs of 3 axes [batch, length, hidden] or 4 [batch, heads, length, size].
fn standard_attention(call: &Call) -> Outputs {
    match (call.dims(0)?, call.dims(2)?) {
        ([batch, heads, length, _], [_, _, _, size]) => {
            Ok(vec![Fact::new(call.dtype(0), vec![batch.clone(), heads.clone(), length.clone(), size.clone()])])
        }
        ([batch, length, _], [_, _, hidden]) => {
            let heads =
                |name: &str| call.node.int(name).filter(|heads| *heads > 0).ok_or("its number of heads is missing");
            let (query, key) = (Dim::known(heads("q_num_heads")?), Dim::known(heads("kv_num_heads")?));
            let out = hidden.floor_div(&key).mul(&query);
            Ok(vec![Fact::new(call.dtype(0), vec![batch.clone(), length.clone(), out])])
        }
        _ => Err("its inputs have neither 3 nor 4 axes".into()),
    }
}
