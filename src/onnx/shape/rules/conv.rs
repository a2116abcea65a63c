//! Convolutions of any number of spatial axes, and the window arithmetic that pooling shares.

use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};

pub const FAMILIES: &[Family] = &[
    (AI, &["Conv"], conv),
    (MS, &["FusedConv", "NhwcFusedConv"], fused_conv),
    (AI, &["ConvInteger"], conv_integer),
    (AI, &["QLinearConv"], qlinear_conv),
    (AI, &["ConvTranspose"], conv_transpose),
    (AI, &["DeformConv"], conv),
];

/// Attributes of a sliding window, one entry a spatial axis.
pub struct Window {
    pub kernel: Vec<Dim>,
    pub strides: Vec<Dim>,
    pub dilations: Vec<Dim>,
    /// Begins, then ends.
    pads: Vec<Dim>,
    auto_pad: String,
    ceil_mode: bool,
}

/// A list attribute with one entry a spatial axis, or all `default`.
fn per_axis(call: &Call, name: &str, count: usize, default: i64) -> Result<Vec<Dim>, String> {
    match call.node.ints(name) {
        Some(values) if values.len() == count => Ok(values.iter().map(|value| Dim::known(*value)).collect()),
        Some([]) | None => Ok(vec![Dim::known(default); count]),
        Some(values) => Err(format!("its {name} has {} entries where {count} are needed", values.len())),
    }
}

impl Window {
    /// Reads the attributes; the kernel's sizes are given where an input has them.
    pub fn new(call: &Call, spatial: usize, kernel: Option<Vec<Dim>>) -> Result<Self, String> {
        let kernel = match (call.node.ints("kernel_shape"), kernel) {
            (Some(shape), _) if shape.len() == spatial => shape.iter().map(|size| Dim::known(*size)).collect(),
            (_, Some(kernel)) if kernel.len() == spatial => kernel,
            _ => return Err("its kernel has another number of axes than its input".into()),
        };
        let strides = per_axis(call, "strides", spatial, 1)?;
        let dilations = per_axis(call, "dilations", spatial, 1)?;
        if strides.iter().chain(&dilations).any(|size| size.as_known().is_none_or(|size| size <= 0)) {
            return Err("a stride or dilation is not positive".into());
        }
        Ok(Self {
            kernel,
            strides,
            dilations,
            pads: per_axis(call, "pads", spatial * 2, 0)?,
            auto_pad: call.node.text("auto_pad").unwrap_or("NOTSET").to_owned(),
            ceil_mode: call.int("ceil_mode", 0) != 0,
        })
    }

    /// Positions that the window takes on a spatial axis of this size.
    pub fn positions(&self, axis: usize, size: &Dim) -> Dim {
        let one = Dim::known(1);
        let stride = &self.strides[axis];
        let extent = self.dilations[axis].mul(&self.kernel[axis].sub(&one)).add(&one);
        match self.auto_pad.as_str() {
            "SAME_UPPER" | "SAME_LOWER" => return size.ceil_div(stride),
            "VALID" => {
                let span = size.sub(&extent);
                return if self.ceil_mode { span.ceil_div(stride) } else { span.floor_div(stride) }.add(&one);
            }
            _ => {}
        }
        let (begin, end) = (&self.pads[axis], &self.pads[axis + self.kernel.len()]);
        let span = size.add(begin).add(end).sub(&extent);
        if !self.ceil_mode {
            return span.floor_div(stride).add(&one);
        }
        // A window that would start in the padding at the end is left out.
        let count = span.ceil_div(stride).add(&one);
        let starts_late = count.sub(&one).mul(stride).sub(&size.add(begin));
        match starts_late.as_known() {
            Some(late) if late >= 0 => count.sub(&one),
            Some(_) => count,
            None => count.minimum(&size.add(begin).ceil_div(stride)),
        }
    }
}

/// Shape of a convolution of input `x` by weights `w`.
fn convolved(call: &Call, x: usize, w: usize) -> Result<Vec<Dim>, String> {
    let (input, weight) = (call.dims(x)?, call.dims(w)?);
    if input.len() < 2 || weight.len() != input.len() {
        return Err(format!("an input of {} axes does not fit weights of {}", input.len(), weight.len()));
    }
    let spatial = input.len() - 2;
    let window = Window::new(call, spatial, Some(weight[2..].to_vec()))?;
    let mut dims = vec![input[0].clone(), weight[0].clone()];
    dims.extend((0..spatial).map(|axis| window.positions(axis, &input[axis + 2])));
    Ok(dims)
}

fn conv(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), convolved(call, 0, 1)?)])
}

fn fused_conv(call: &Call) -> Outputs {
    if call.node.op_type().starts_with("Nhwc") {
        return Err("its layout is not followed".into());
    }
    conv(call)
}

fn conv_integer(call: &Call) -> Outputs {
    Ok(vec![Fact::new(Some(DataType::Int32), convolved(call, 0, 1)?)])
}

fn qlinear_conv(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(7), convolved(call, 0, 3)?)])
}

fn conv_transpose(call: &Call) -> Outputs {
    let (input, weight) = (call.dims(0)?, call.dims(1)?);
    if input.len() < 2 || weight.len() != input.len() {
        return Err(format!("an input of {} axes does not fit weights of {}", input.len(), weight.len()));
    }
    let spatial = input.len() - 2;
    let window = Window::new(call, spatial, Some(weight[2..].to_vec()))?;
    let extra = per_axis(call, "output_padding", spatial, 0)?;
    let groups = Dim::known(call.int("group", 1));
    let mut dims = vec![input[0].clone(), weight[1].mul(&groups)];
    if let Some(shape) = call.node.ints("output_shape").filter(|shape| !shape.is_empty()) {
        if shape.len() < spatial {
            return Err("its output_shape is too short".into());
        }
        dims.extend(shape[shape.len() - spatial..].iter().map(|size| Dim::known(*size)));
        return Ok(vec![Fact::new(call.dtype(0), dims)]);
    }
    let one = Dim::known(1);
    for (axis, size) in input[2..].iter().enumerate() {
        let stride = &window.strides[axis];
        let extent = window.dilations[axis].mul(&window.kernel[axis].sub(&one)).add(&one);
        dims.push(match window.auto_pad.as_str() {
            "SAME_UPPER" | "SAME_LOWER" => size.mul(stride),
            _ => {
                let grown = size.sub(&one).mul(stride).add(&extra[axis]).add(&extent);
                let pads = if window.auto_pad == "VALID" {
                    Dim::known(0)
                } else {
                    window.pads[axis].add(&window.pads[axis + spatial])
                };
                grown.sub(&pads)
            }
        });
    }
    Ok(vec![Fact::new(call.dtype(0), dims)])
}
