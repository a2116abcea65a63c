//! Looking into an upload: what the service must know before it keeps it.

use std::fs::File;
use std::path::Path;

use crate::cost;
use crate::data;
use crate::onnx::dtype::DataType;
use crate::onnx::mapped;
use crate::onnx::model::Model;
use crate::onnx::shape::{self, Dim, Inferred, Symbol};
use crate::spec::attempt::{DatasetLimits, ModelLimits};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::{Axis, DatasetSummary, ModelSummary, ValueSummary};

/// Looks into an uploaded model.
///
/// Errors: `invalid_model` with the place where it is unsound.
pub fn inspect_model(file: &Path, limits: &ModelLimits) -> Result<ModelSummary, Failure> {
    let bytes = File::open(file)
        .and_then(|file| mapped::map(&file))
        .map_err(|error| Failure::new(FailureCode::Internal, format!("the upload cannot be read: {error}")))?;
    let (model, notes) = Model::import(bytes, limits)?;
    let mut summary = summarize(&model);
    summary.notes.splice(0..0, notes);
    Ok(summary)
}

/// Looks into an uploaded dataset.
///
/// Errors: `invalid_dataset` with the entry that cannot be read.
pub fn inspect_dataset(
    file: &Path,
    preprocess: Option<&Preprocess>,
    limits: &DatasetLimits,
) -> Result<DatasetSummary, Failure> {
    Ok(data::inspect(file, preprocess, limits)?)
}

/// What is known of a model without running it.
pub(super) fn summarize(model: &Model) -> ModelSummary {
    let inferred = shape::infer(model);
    let graph = model.graph();
    let (macs, macs_unknown) = match cost::macs(model, &cost::ExampleShapes::new()) {
        Ok(macs) => (Some(macs), None),
        Err(reason) => (None, Some(reason)),
    };
    let inputs: Vec<ValueSummary> = graph.fed_inputs().map(|info| describe(info.name(), &inferred)).collect();
    let fixed_batch = inputs.iter().filter_map(|input| match input.shape.as_deref() {
        Some([Axis::Size(size), ..]) => Some(format!("the first axis of input `{}` is fixed at {size}", input.name)),
        _ => None,
    });
    ModelSummary {
        notes: fixed_batch.collect(),
        outputs: graph.proto.output.iter().map(|info| describe(info.name(), &inferred)).collect(),
        opsets: model
            .proto
            .opset_import
            .iter()
            .map(|set| (if set.domain().is_empty() { "ai.onnx" } else { set.domain() }.to_owned(), set.version()))
            .collect(),
        ir_version: model.proto.ir_version(),
        producer: Some([model.proto.producer_name(), model.proto.producer_version()].join(" ").trim().to_owned())
            .filter(|producer| !producer.is_empty()),
        nodes: graph.proto.node.len() as u64,
        parameters: cost::parameters(model).all,
        inputs,
        macs,
        macs_unknown,
    }
}

/// A graph input or output by its inferred type.
fn describe(name: &str, inferred: &Inferred) -> ValueSummary {
    let axis = |dim: &Dim| match (dim.as_known(), dim.as_symbol()) {
        (Some(size), _) => u64::try_from(size).map_or(Axis::Unknown, Axis::Size),
        (None, Some(Symbol::Named(name))) => Axis::Symbol(name.to_string()),
        _ => Axis::Unknown,
    };
    ValueSummary {
        name: name.to_owned(),
        dtype: inferred.dtype(name).map_or("unknown", DataType::name).to_owned(),
        shape: inferred.dims(name).map(|dims| dims.iter().map(axis).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::tensor::Tensor;

    #[test]
    fn a_summary_tells_shapes_sizes_and_a_fixed_batch() {
        let mut b = GraphBuilder::new("dense");
        let x = b.input("x", DataType::Float, &[1.into(), 4.into()]);
        let w = b.initializer("w", &Tensor::from_f32(&[4, 3], &[0.5; 12]));
        let y = b.node("MatMul", &[&x, &w], &[]);
        b.output(&y, DataType::Float, &["whatever".into(), 3.into()]);
        let summary = summarize(&b.build(17));
        assert_eq!((summary.parameters, summary.macs), (12, Some(12)));
        assert_eq!(summary.outputs[0].shape, Some(vec![Axis::Size(1), Axis::Size(3)]));
        assert_eq!(summary.notes, ["the first axis of input `x` is fixed at 1"]);
    }
}
