//! Quantized layers: pairs of quantizing and dequantizing, operators on quantized numbers, products of integers.

use super::maker::{Maker, Value, ints};
use super::menu::Blocks;
use crate::onnx::attribute::Attribute;
use crate::onnx::dtype::DataType;

pub const BLOCKS: Blocks = &[(3, pairs), (3, conv), (3, product), (2, gemm), (2, dynamic_product), (2, dynamic_conv)];

/// Scale and zero point of activations.
struct Grid {
    scale: String,
    zero: String,
}

impl Grid {
    fn new(m: &mut Maker<'_>) -> Self {
        Self { scale: m.scalar(0.05), zero: m.integers(DataType::Uint8, &[], 120..136) }
    }

    fn quantize(&self, m: &mut Maker<'_>, x: &str) -> String {
        m.node("QuantizeLinear", &[x, &self.scale, &self.zero], &[])
    }

    fn dequantize(&self, m: &mut Maker<'_>, x: &str) -> String {
        m.node("DequantizeLinear", &[x, &self.scale, &self.zero], &[])
    }

    /// An operator of ONNX Runtime on quantized operands, all on this grid.
    fn on(&self, m: &mut Maker<'_>, op_type: &str, operands: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let each = operands.iter().flat_map(|operand| [*operand, &self.scale, &self.zero]);
        let inputs: Vec<&str> = each.chain([self.scale.as_str(), &self.zero]).collect();
        m.fused(op_type, &inputs, attributes)
    }
}

/// Scales of output channels, one for each or one for all, and zero points as many.
fn scales(m: &mut Maker<'_>, out: usize) -> (String, String) {
    let shape = if m.one_in(3) { vec![] } else { vec![out] };
    (m.draw(&shape, 0.002, 0.01), m.integers(DataType::Int8, &shape, 0..1))
}

/// Weights and activations that are quantized and taken back, around a layer of floating-point numbers.
fn pairs(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let grid = Grid::new(m);
    let y = grid.quantize(m, &x.name);
    let y = grid.dequantize(m, &y);
    let (channels, out) = (x.channels(), m.width());
    let (scale, zero) = scales(m, out);
    let is_image = x.as_image().is_some();
    let shape = if is_image { vec![out, channels, 3, 3] } else { vec![channels, out] };
    let w = m.integers(DataType::Int8, &shape, -100..100);
    let axis = [("axis", Attribute::Int(i64::from(!is_image)))];
    let w = m.node("DequantizeLinear", &[&w, &scale, &zero], &axis);
    let name = if is_image {
        m.node("Conv", &[&y, &w], &[("pads", ints(&[1, 1, 1, 1]))])
    } else {
        m.node("MatMul", &[&y, &w], &[])
    };
    Some(x.with(name, out))
}

/// A convolution of quantized numbers, and one operator behind it.
fn conv(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, side) = x.as_image()?;
    let (grid, out) = (Grid::new(m), m.width());
    let quantized = grid.quantize(m, &x.name);
    let w = m.integers(DataType::Int8, &[out, channels, 3, 3], -100..100);
    let (scale, zero) = scales(m, out);
    let b = m.integers(DataType::Int32, &[out], -400..400);
    let Grid { scale: s, zero: z } = &grid;
    let inputs = [&quantized, s, z, &w, &scale, &zero, s, z, &b].map(String::as_str);
    let y = m.node("QLinearConv", &inputs, &[("pads", ints(&[1, 1, 1, 1]))]);
    let slope = [("alpha", Attribute::Float(0.1))];
    let window = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    match m.pick(&[0, 1, 2, 3, 4, 5]) {
        0 => {
            let z = grid.on(m, "QLinearLeakyRelu", &[&y], &slope);
            let y = grid.on(m, "QLinearAdd", &[&y, &z], &[]);
            Some(x.with(grid.dequantize(m, &y), out))
        }
        1 => {
            let z = grid.on(m, "QLinearSigmoid", &[&y], &[]);
            let y = grid.on(m, "QLinearMul", &[&y, &z], &[]);
            Some(x.with(grid.dequantize(m, &y), out))
        }
        2 if side >= 4 => {
            let y = grid.on(m, "QLinearAveragePool", &[&y], &window);
            Some(Value::image(grid.dequantize(m, &y), out, side / 2))
        }
        3 => {
            let pooled = grid.on(m, "QLinearGlobalAveragePool", &[&y], &[("channels_last", Attribute::Int(0))]);
            let [y, pooled] = [&y, &pooled].map(|value| grid.dequantize(m, value));
            Some(x.with(m.node("Add", &[&y, &pooled], &[]), out))
        }
        4 => {
            let inputs = [s, z, &y, s, z, &quantized, s, z].map(String::as_str);
            let y = m.fused("QLinearConcat", &inputs, &[("axis", Attribute::Int(1))]);
            Some(x.with(grid.dequantize(m, &y), out + channels))
        }
        _ => Some(x.with(grid.dequantize(m, &y), out)),
    }
}

fn product(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.as_image().is_some() {
        return None;
    }
    let (grid, out) = (Grid::new(m), m.width());
    let y = grid.quantize(m, &x.name);
    let w = m.integers(DataType::Int8, &[x.channels(), out], -100..100);
    let (scale, zero) = scales(m, out);
    let Grid { scale: s, zero: z } = &grid;
    let y = m.node("QLinearMatMul", &[&y, s, z, &w, &scale, &zero, s, z].map(String::as_str), &[]);
    Some(x.with(grid.dequantize(m, &y), out))
}

fn gemm(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, out) = (x.as_rows()?, m.width());
    let grid = Grid::new(m);
    let y = grid.quantize(m, &x.name);
    let turned = m.one_in(2);
    let w = m.integers(DataType::Int8, &if turned { [out, channels] } else { [channels, out] }, -100..100);
    let (scale, zero) = scales(m, out);
    let c = m.integers(DataType::Int32, &[out], -400..400);
    let Grid { scale: s, zero: z } = &grid;
    let inputs = [&y, s, z, &w, &scale, &zero, &c, s, z].map(String::as_str);
    let y = m.fused("QGemm", &inputs, &[("transB", Attribute::Int(i64::from(turned)))]);
    Some(x.with(grid.dequantize(m, &y), out))
}

/// Back to floating-point numbers, by the scale that was found and that of the weight.
fn back(m: &mut Maker<'_>, y: &str, scale: &str) -> String {
    let y = m.cast(y, DataType::Float);
    let of_weight = m.scalar(0.01);
    let scale = m.node("Mul", &[scale, &of_weight], &[]);
    m.node("Mul", &[&y, &scale], &[])
}

fn dynamic_product(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    if x.as_image().is_some() {
        return None;
    }
    let out = m.width();
    let parts = m.b.nodes("DynamicQuantizeLinear", &[&x.name], &[], 3);
    let w = m.integers(DataType::Int8, &[x.channels(), out], -100..100);
    let zero = m.integers(DataType::Int8, &[], 0..4);
    let y = m.node("MatMulInteger", &[&parts[0], &w, &parts[2], &zero], &[]);
    Some(x.with(back(m, &y, &parts[1]), out))
}

fn dynamic_conv(m: &mut Maker<'_>, x: &Value) -> Option<Value> {
    let (channels, _) = x.as_image()?;
    let out = m.width();
    let parts = m.b.nodes("DynamicQuantizeLinear", &[&x.name], &[], 3);
    let w = m.integers(DataType::Uint8, &[out, channels, 3, 3], 28..228);
    let zero = m.integers(DataType::Uint8, &[], 120..136);
    let y = m.node("ConvInteger", &[&parts[0], &w, &parts[2], &zero], &[("pads", ints(&[1, 1, 1, 1]))]);
    Some(x.with(back(m, &y, &parts[1]), out))
}
