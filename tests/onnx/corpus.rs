//! The models that tests look at, and inputs to run them on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::proto::{DimensionValue, TypeValue, ValueInfoProto};
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::ModelLimits;

use crate::published;

/// Every ONNX file below the data folder, in order.
pub fn files() -> Vec<PathBuf> {
    let Some(data) = published::folder() else { return Vec::new() };
    let mut found = Vec::new();
    for folder in ["cifar_resnet", "zoo", "real"] {
        let entries = std::fs::read_dir(data.join(folder)).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "onnx")));
    }
    found.sort();
    assert!(found.len() >= 30, "the data folder has only {} models", found.len());
    found
}

pub fn load(path: &std::path::Path) -> Model {
    Model::load(path, &ModelLimits::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shape to feed an input with: named sizes from `named`, all other free sizes 2.
fn shape(info: &ValueInfoProto, named: &BTreeMap<&str, i64>) -> Vec<i64> {
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        panic!("input {} is no tensor", info.name())
    };
    let dims = tensor.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let size = |dim: &secateur::onnx::proto::Dimension| match &dim.value {
        Some(DimensionValue::Value(size)) if *size >= 0 => *size,
        Some(DimensionValue::Param(name)) => named.get(name.as_str()).copied().unwrap_or(2),
        _ => 2,
    };
    dims.iter().map(size).collect()
}

/// Repeatable inputs for every fed input of a model: floats within ±1, small non-negative integers, `false`.
pub fn feeds(model: &Model, named: &BTreeMap<&str, i64>) -> Vec<(String, Tensor)> {
    let graph = model.graph();
    let mut state = 0x9e37_79b9_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    graph
        .fed_inputs()
        .map(|info| {
            let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
                panic!("input {} is no tensor", info.name())
            };
            let dims = shape(info, named);
            let sizes: Vec<usize> = dims.iter().map(|size| usize::try_from(*size).unwrap()).collect();
            let count: usize = sizes.iter().product();
            let dtype = DataType::from_number(tensor.elem_type()).unwrap();
            let sample_rate = info.name() == "sr";
            let bytes: Vec<u8> = match dtype {
                DataType::Float => (0..count).flat_map(|_| next().to_le_bytes()).collect(),
                DataType::Int64 if sample_rate => 16_000_i64.to_le_bytes().to_vec(),
                DataType::Int64 => (0..count).flat_map(|_| i64::from(next() > 0.0).to_le_bytes()).collect(),
                DataType::Int32 => (0..count).flat_map(|_| i32::from(next() > 0.0).to_le_bytes()).collect(),
                DataType::Uint8 => (0..count).map(|_| (next().abs() * 255.0) as u8).collect(),
                other => panic!("no inputs of {other} yet"),
            };
            (info.name().to_owned(), Tensor::from_bytes(dtype, &sizes, bytes.into()).unwrap())
        })
        .collect()
}
