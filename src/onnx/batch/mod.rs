//! Freeing a batch that was fixed at export.
//!
//! The first axis of the fed inputs becomes a symbol, and the symbol is followed through the graph: a value either does
//! not depend on the batch or has it as the slowest part of one axis. A Reshape to constants keeps it where the symbolic
//! sizes say that it is the batch, never because a number equals it. An operator that would mix samples, or that is not
//! known not to, is the reason of a refusal.

mod apart;
mod follow;

use std::collections::HashSet;

use self::follow::Follow;
use super::builder::Size;
use super::model::Model;
use super::patch::{Applied, Change, PatchError, apply};
use super::proto::ValueInfoProto;
use super::shape::{Dim, Inferred, Symbol, infer};
use crate::spec::failure::{Failure, FailureCode};

/// Why a batch cannot be freed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the inputs do not share a first axis that could be the batch: {reason}")]
    NoBatch { reason: String },
    #[error("`{node}` depends on the fixed batch: {reason}")]
    Depends { node: String, reason: String },
    #[error("the batch cannot be freed: {0}")]
    Patch(#[from] PatchError),
}

impl From<BatchError> for Failure {
    fn from(error: BatchError) -> Self {
        let failure = Self::new(FailureCode::Unsupported, error.to_string());
        match error {
            BatchError::Depends { node, .. } => failure.at(node),
            BatchError::NoBatch { .. } | BatchError::Patch(_) => failure,
        }
    }
}

/// A model whose batch is free.
#[derive(Clone, Debug)]
pub struct Freed {
    pub model: Model,
    /// What was changed; empty where the batch was free before.
    pub notes: Vec<String>,
}

/// Reshapes rewritten in one model; each takes an inference.
const MAX_REWRITES: usize = 256;

/// Frees the batch; a model whose batch is free already is copied as it is.
pub fn free(model: &Model) -> Result<Freed, BatchError> {
    let graph = model.graph();
    let inputs: Vec<&ValueInfoProto> = graph.fed_inputs().collect();
    let inferred = infer(model);
    let Some((size, names)) = fixed(&inputs, &inferred)? else {
        return Ok(Freed { model: model.clone(), notes: Vec::new() });
    };
    let name = symbol_name(&inferred);
    let symbol = Dim::symbol(&name);
    let declare =
        |input: &String| Change::DeclareInput { name: input.clone(), axis: 0, size: Size::Named(name.clone()) };
    let mut changes: Vec<Change> = names.iter().map(declare).collect();
    let mut notes = vec![format!("the batch, fixed at {size} by the export, is free (axis 0 of {})", names.join(", "))];
    for _ in 0..MAX_REWRITES {
        let trial = trial(model, &changes);
        let opset = model.opset("").unwrap_or(1);
        let follow = Follow { graph: trial.graph(), inferred: infer(&trial), batch: &symbol, size, opset };
        match follow.walk()? {
            None => {
                let Applied { model, .. } = apply(model, &changes)?;
                return Ok(Freed { model, notes });
            }
            Some((found, note)) => {
                changes.extend(found);
                notes.push(note);
            }
        }
    }
    Err(BatchError::NoBatch { reason: format!("more than {MAX_REWRITES} Reshapes would have to be rewritten") })
}

/// The fixed size and the inputs that have it; `None` where the first axis is free.
fn fixed(inputs: &[&ValueInfoProto], inferred: &Inferred) -> Result<Option<(i64, Vec<String>)>, BatchError> {
    let mut found: Option<(i64, Vec<String>)> = None;
    for info in inputs {
        // An input of fewer axes is no stack of samples, such as a sampling rate.
        let Some([first, _, ..]) = inferred.dims(info.name()) else { continue };
        match (first.as_known(), &mut found) {
            (None, _) => return Ok(None),
            (Some(size), None) => found = Some((size, vec![info.name().to_owned()])),
            (Some(size), Some((shared, names))) if size == *shared => names.push(info.name().to_owned()),
            (Some(size), Some((shared, _))) => {
                return Err(BatchError::NoBatch { reason: format!("sizes {shared} and {size} differ") });
            }
        }
    }
    match found {
        Some(found) => Ok(Some(found)),
        None => Err(BatchError::NoBatch { reason: "no input has two axes or more".into() }),
    }
}

/// `batch`, or another name where an axis is called that.
fn symbol_name(inferred: &Inferred) -> String {
    let taken: HashSet<String> = inferred
        .values()
        .flat_map(|value| inferred.dims(value).unwrap_or_default())
        .flat_map(Dim::symbols)
        .map(Symbol::to_string)
        .collect();
    let mut name = "batch".to_owned();
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

/// The model with the changes made, unchecked: shapes may not fit before all of them are.
fn trial(model: &Model, changes: &[Change]) -> Model {
    let mut trial = model.clone();
    for change in changes {
        // Each change was made from this graph, so that it applies.
        let _ = super::patch::make(trial.graph_proto_mut(), change);
    }
    trial
}
