//! Normalisations: the first output has the shape of the input, the others are statistics.

use super::elementwise::axis_attribute;
use super::{AI, Family, MS};
use crate::onnx::dtype::DataType;
use crate::onnx::shape::dim::Dim;
use crate::onnx::shape::fact::{Call, Fact, Outputs};

pub const FAMILIES: &[Family] = &[
    (AI, &["BatchNormalization"], batch),
    (AI, &["InstanceNormalization", "GroupNormalization"], same),
    (MS, &["GroupNorm"], same),
    (AI, &["LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"], layer),
    (MS, &["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"], skip_layer),
];

fn batch(call: &Call) -> Outputs {
    let dims = call.dims(0)?.to_vec();
    // Running or saved statistics, by opset; a vector over the channels in each case.
    let statistics = Fact::new(call.dtype(3), call.dims(3)?.to_vec());
    let mut outputs = vec![Fact::new(call.dtype(0), dims)];
    outputs.extend(std::iter::repeat_n(statistics, call.node.output.len().min(5).saturating_sub(1)));
    Ok(outputs)
}

fn same(call: &Call) -> Outputs {
    Ok(vec![Fact::new(call.dtype(0), call.dims(0)?.to_vec())])
}

fn layer(call: &Call) -> Outputs {
    let dims = call.dims(0)?.to_vec();
    let axis = axis_attribute(call, -1, dims.len())?;
    let statistics =
        dims.iter().enumerate().map(|(i, size)| if i < axis { size.clone() } else { Dim::known(1) }).collect();
    let kind = call.node.int("stash_type").and_then(|number| DataType::from_number(i32::try_from(number).ok()?));
    let statistics = Fact::new(kind.or(Some(DataType::Float)), statistics);
    Ok(vec![Fact::new(call.dtype(0), dims), statistics.clone(), statistics])
}

fn skip_layer(call: &Call) -> Outputs {
    let dims = call.dims(0)?.to_vec();
    let mut reduced = dims.clone();
    if let Some(last) = reduced.last_mut() {
        *last = Dim::known(1);
    }
    let statistics = Fact::new(Some(DataType::Float), reduced);
    Ok(vec![Fact::new(call.dtype(0), dims.clone()), statistics.clone(), statistics, Fact::new(call.dtype(0), dims)])
}
