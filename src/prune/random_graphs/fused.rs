//! Operators that ONNX Runtime's optimizer writes, but for attention.

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;

pub const BLOCKS: Blocks = &[(2, conv), (2, product), (2, gemm), (2, skip_norm), (2, activation)];

fn conv(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let (w, b) = (m.weight(&[channels, channels, 3, 3], channels * 9), m.draw(&[channels], -0.2, 0.2));
    let attributes = [("pads", ints(&[1, 1, 1, 1])), ("activation", Attribute::String("Relu".into()))];
    let name = if m.one_in(2) {
        m.fused("FusedConv", &[&x.name, &w, &b, &x.name], &attributes)
    } else {
        m.fused("FusedConv", &[&x.name, &w, &b], &attributes)
    };
    Some(x.with(name, channels))
}

fn product(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.as_image().is_some() {
        return None;
    }
    let (channels, out) = (x.channels(), m.width());
    let turned = m.one_in(2);
    let w = m.weight(&if turned { [out, channels] } else { [channels, out] }, channels);
    let attributes = [("transB", Attribute::Int(i64::from(turned))), ("alpha", Attribute::Float(0.5))];
    Some(x.with(m.fused("FusedMatMul", &[&x.name, &w], &attributes), out))
}

fn gemm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, out) = (x.as_rows()?, m.width());
    let (w, b) = (m.weight(&[out, channels], channels), m.draw(&[out], -0.2, 0.2));
    let attributes = [("transB", Attribute::Int(1)), ("activation", Attribute::String("Relu".into()))];
    Some(x.with(m.fused("FusedGemm", &[&x.name, &w, &b], &attributes), out))
}

fn skip_norm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (_, channels) = x.as_sequence()?;
    let inner = m.linear(&x.name, channels, channels);
    let (scale, shift) = (m.draw(&[channels], 0.5, 1.5), m.draw(&[channels], -0.5, 0.5));
    let bias = m.draw(&[channels], -0.2, 0.2);
    let name = if m.one_in(2) {
        m.fused("SkipLayerNormalization", &[&inner, &x.name, &scale, &shift, &bias], &[])
    } else {
        m.fused("SkipSimplifiedLayerNormalization", &[&inner, &x.name, &scale, &bias], &[])
    };
    Some(x.with(name, channels))
}

fn activation(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let op_type = m.pick(&["Gelu", "QuickGelu", "FastGelu", "BiasGelu"]);
    let name = match op_type {
        "Gelu" | "QuickGelu" => m.fused(op_type, &[&x.name], &[]),
        _ if x.as_image().is_some() => return None,
        _ => {
            let bias = m.draw(&[x.channels()], -0.2, 0.2);
            m.fused(op_type, &[&x.name, &bias], &[])
        }
    };
    Some(x.with(name, x.channels()))
}
