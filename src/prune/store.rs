//! In which form the file of a model with zeros is kept: its weights as they are, or by their elements that are not zero.
//!
//! The sparse form has 8 bytes of position for each element, so that it is smaller from about two thirds of zeros on (32-bit
//! floats). It is taken only where ONNX Runtime reads it as the same weights; on speed it has no influence.

use super::{PruneError, Pruned, Run, certify};
use crate::cost;
use crate::onnx::model::Model;
use crate::onnx::storage::sparse::{self, Candidates};
use crate::spec::prune::Store;
use crate::spec::report::StoredReport;

impl Run<'_> {
    /// Chooses the form and tells the sizes of both. A model that was made without zeros in mind keeps the form that its
    /// original has, tensor by tensor.
    pub(super) fn store(&self, pruned: &mut Pruned) -> Result<(), PruneError> {
        let dense_bytes = pruned.model.dense_bytes();
        let Candidates { names, barred } = match self.spec.store {
            Store::Dense => Candidates::default(),
            Store::Auto => sparse::candidates(&pruned.model.proto),
        };
        pruned.model.sparse = names;
        let tensors = pruned.model.sparse.len() as u64;
        let sparse_bytes = (tensors > 0).then(|| pruned.model.size_bytes() as u64).filter(|bytes| *bytes < dense_bytes);
        let reason = match (self.spec.store, sparse_bytes) {
            (Store::Dense, _) => Some("the request asks for dense weights".to_owned()),
            (Store::Auto, None) => Some(match &barred {
                Some(barred) => barred.to_string(),
                None => "no weight has zeros enough that its other elements take less room".to_owned(),
            }),
            (Store::Auto, Some(_)) if self.spec.dry_run => None,
            (Store::Auto, Some(_)) => self.differs(&pruned.model)?,
        };
        if reason.is_some() {
            pruned.model.sparse.clear();
        }
        if let (None, Some(barred)) = (&reason, barred) {
            pruned.report.notes.push(barred.to_string());
        }
        let form = if reason.is_some() { "dense" } else { "sparse_initializer" };
        pruned.report.stored = Some(StoredReport {
            form: form.into(),
            tensors: if reason.is_some() { 0 } else { tensors },
            dense_bytes,
            sparse_bytes,
            reason,
        });
        pruned.report.size_after = cost::size(&pruned.model, &self.spec.example_shapes);
        Ok(())
    }

    /// Why ONNX Runtime does not take the stored form for the same model; `None` where it does.
    fn differs(&self, model: &Model) -> Result<Option<String>, PruneError> {
        let stored = Model::new(model.stored().into_owned());
        let graph = model.graph();
        let same = certify::Subject { original: model, graph: &graph, ..self.subject(&stored) };
        match same.verified_with_error() {
            Ok((_, Some(0.0))) => Ok(None),
            Ok((_, error)) => {
                let error = error.map_or_else(|| "not finite".to_owned(), |error| format!("{error:e}"));
                Ok(Some(format!(
                    "ONNX Runtime computes something else from the sparse form (relative difference {error})"
                )))
            }
            Err(error @ certify::CertifyError::Failed { .. }) => {
                Ok(Some(format!("ONNX Runtime does not run the sparse form: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }
}
