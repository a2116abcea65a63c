//! Looking into an upload: what the service must know before it keeps it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::checkpoint::io_failure;
use crate::cost;
use crate::data;
use crate::onnx::mapped;
use crate::onnx::model::Model;
use crate::onnx::storage::external::Files;
use crate::onnx::storage::{LARGEST_MESSAGE, archive};
use crate::onnx::{shape, summary};
use crate::spec::attempt::{DatasetLimits, ModelLimits};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::{DatasetSummary, ModelSummary};

/// Looks into an uploaded model with the data files that came with it, by name.
///
/// What came in several files, in an archive, or as a message larger than its readers take is written to `rewritten` as the
/// one file that the service keeps; nothing is written otherwise.
///
/// Errors: `invalid_model` with the place where it is unsound, `external_data` with the tensor or file that does not fit.
pub fn inspect_model(
    file: &Path,
    data: &BTreeMap<String, PathBuf>,
    rewritten: &Path,
    limits: &ModelLimits,
) -> Result<ModelSummary, Failure> {
    let map = |file: &Path| {
        File::open(file)
            .and_then(|file| mapped::map(&file))
            .map_err(|error| Failure::new(FailureCode::Internal, format!("the upload cannot be read: {error}")))
    };
    let bytes = map(file)?;
    let files = data.iter().map(|(name, path)| Ok((name.clone(), map(path)?))).collect::<Result<Files, Failure>>()?;
    let one_file = data.is_empty() && !archive::is_archive(&bytes) && bytes.len() as u64 <= LARGEST_MESSAGE;
    let (model, notes) = Model::import(bytes, files, limits)?;
    if !one_file {
        model.save(rewritten).map_err(|error| io_failure("the model as one file", &error))?;
    }
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
    let macs = cost::macs(model, &cost::ExampleShapes::new());
    summary::summarize(model, &shape::infer(model), Vec::new(), cost::parameters(model).all, macs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;
    use crate::onnx::tensor::Tensor;
    use crate::spec::summary::Axis;

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
        assert_eq!(summary.notes, ["the batch is fixed at 1 by the export (input `x`)"]);
    }
}
