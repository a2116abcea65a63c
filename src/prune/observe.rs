//! The values inside a model while it runs on calibration samples: by name, batch by batch, never all at once.
//!
//! Only what the named values need is run. Knows nothing of what is made of the values.

use crate::data::{Batch, DataError, Samples};
use crate::engine::{Engine as _, EngineError, Session, SessionOptions, onnx_runtime};
use crate::onnx::extract::{Border, extract};
use crate::onnx::model::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::Tensor;

/// Why values could not be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the model does not run on the dataset: {0}")]
    Engine(#[from] EngineError),
    #[error("the type of the value `{name}` is not known, so that it cannot be observed")]
    Untyped { name: String },
}

/// Runs a model over samples and hands out the values of `names`, in that order, with each batch.
///
/// Errors: the first of a sample, the engine or `take`.
pub fn observe<E: From<ObserveError>>(
    model: &Model,
    inferred: &Inferred,
    names: &[&str],
    samples: Samples<'_>,
    threads: usize,
    mut take: impl FnMut(&Batch, &[Tensor]) -> Result<(), E>,
) -> Result<(), E> {
    let mut probe = Probe::new(model, inferred, &[], names, threads)?;
    for batch in samples.batches() {
        let batch = batch.map_err(ObserveError::from)?;
        let values = probe.run(&batch.feeds())?;
        take(&batch, &values)?;
    }
    Ok(())
}

/// A part of a model that is ready to run: from given values, and inputs of the model, to wanted ones.
pub struct Probe {
    session: Box<dyn Session>,
    inputs: Vec<String>,
}

impl Probe {
    /// Prepares the part between the values.
    ///
    /// Errors: the type of a value is not known, or ONNX Runtime does not load the part.
    pub fn new(
        model: &Model,
        inferred: &Inferred,
        given: &[&str],
        wanted: &[&str],
        threads: usize,
    ) -> Result<Self, ObserveError> {
        let borders = |names: &[&str]| names.iter().map(|name| border(inferred, name)).collect::<Result<Vec<_>, _>>();
        let part = extract(model, &borders(given)?, &borders(wanted)?);
        let inputs = part.graph().fed_inputs().map(ValueInfoProto::name).map(str::to_owned).collect();
        let session = onnx_runtime()?.load(&part, &SessionOptions::with_threads(threads))?;
        Ok(Self { session, inputs })
    }

    /// The wanted values, in their order, from feeds of which some may not be needed.
    pub fn run(&mut self, feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, ObserveError> {
        let needed = |(name, _): &&(&str, &Tensor)| self.inputs.iter().any(|input| input == name);
        let feeds: Vec<(&str, &Tensor)> = feeds.iter().filter(needed).copied().collect();
        Ok(self.session.run(&feeds)?)
    }
}

fn border(inferred: &Inferred, name: &str) -> Result<Border, ObserveError> {
    let untyped = || ObserveError::Untyped { name: name.to_owned() };
    let dtype = inferred.dtype(name).ok_or_else(untyped)?;
    Ok(Border { name: name.to_owned(), dtype, rank: inferred.rank(name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_files::labelled;
    use crate::data::{Calibration, Dataset};
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;
    use crate::spec::attempt::DatasetLimits;

    #[test]
    fn values_inside_a_model_come_with_their_batches() {
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &["n".into(), 2.into()]);
        let twice = b.node("Add", &[&x, &x], &[]);
        let squared = b.node("Mul", &[&twice, &twice], &[]);
        let out = b.node("Relu", &[&squared], &[]);
        b.output(&out, DataType::Float, &["n".into(), 2.into()]);
        let model = b.build(17);
        let inferred = crate::onnx::shape::infer(&model);
        let file = labelled(&[80, 2], &(0..160_u8).map(f32::from).collect::<Vec<_>>(), &[0; 80]);
        let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
        let calibration = Calibration::new(&dataset, &model, 40, 3).unwrap();
        let mut batches = Vec::new();
        observe(&model, &inferred, &[&squared, &twice], calibration.fitting(), 1, |batch, values| {
            let x = batch.inputs[0].1.to_f32().unwrap().into_owned();
            assert_eq!(values[0].to_f32().unwrap().to_vec(), x.iter().map(|x| 4.0 * x * x).collect::<Vec<_>>());
            assert_eq!(values[1].to_f32().unwrap().to_vec(), x.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
            batches.push(batch.labels.len());
            Ok::<_, ObserveError>(())
        })
        .unwrap();
        assert_eq!(batches, [32, 8]);
    }
}
