//! Stores what an attempt left: checkpoints while it runs, results at its end.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Shared;
use super::inputs::inside;
use crate::queue::{CheckpointFile, Publication, StepModel};
use crate::spec::attempt::Finished;
use crate::spec::job::{JobSpec, StepKind};
use crate::spec::report::{Report, StepReport};
use crate::store::blob::{self, BlobRef};

/// Stores the files of a complete checkpoint directory.
pub(super) async fn store_checkpoint(shared: &Shared, scratch: &Path, directory: &str) -> Result<Vec<CheckpointFile>> {
    let root = scratch.join("checkpoints").join(inside(directory)?);
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let mut entries =
            tokio::fs::read_dir(&folder).await.with_context(|| format!("reading {}", folder.display()))?;
        while let Some(entry) = entries.next_entry().await? {
            let kind = entry.file_type().await?;
            if kind.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            // `path` lies below `root`, by construction.
            let name = path.strip_prefix(&root)?.to_string_lossy().into_owned();
            let blob = store(shared, &path).await.with_context(|| format!("storing {name} of a checkpoint"))?;
            files.push(CheckpointFile { name, blob });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Names that the models of a job get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming<'a> {
    /// The model that the job started from.
    pub(super) original: &'a str,
    /// What the client wants the job's output to be called.
    pub(super) chosen: Option<&'a str>,
    pub(super) spec: &'a JobSpec,
}

/// Stores the results of a finished attempt.
pub(super) async fn store_results(
    shared: &Shared,
    scratch: &Path,
    finished: &Finished,
    naming: Naming<'_>,
) -> Result<Publication> {
    let outputs = scratch.join("outputs");
    let report_path = outputs.join(inside(&finished.report)?);
    let report: Report = {
        let bytes = tokio::fs::read(&report_path).await.context("reading the report")?;
        serde_json::from_slice(&bytes).context("the attempt left a report that cannot be read")?
    };
    let mut models = Vec::with_capacity(finished.models.len());
    for (index, made) in finished.models.iter().enumerate() {
        let blob = store(shared, &outputs.join(inside(&made.file)?)).await.context("storing a model")?;
        let step_report = report.steps.iter().find(|step| step.step == made.step);
        models.push(StepModel {
            step: u32::try_from(made.step)?,
            name: naming.name(made.step, index + 1 == finished.models.len()),
            blob,
            summary: made.summary.clone(),
            certificate: step_report.and_then(StepReport::certificate).cloned(),
        });
    }
    let report = store(shared, &report_path).await.context("storing the report")?;
    let plan = match &finished.plan {
        Some(plan) => Some(store(shared, &outputs.join(inside(plan)?)).await.context("storing the plan")?),
        None => None,
    };
    Ok(Publication { models, report, plan })
}

async fn store(shared: &Shared, path: &Path) -> Result<BlobRef> {
    // An attempt that links to a file elsewhere would have the worker read it.
    if !tokio::fs::symlink_metadata(path).await?.is_file() {
        bail!("{} is no regular file", path.display());
    }
    let mut connection = shared.database.pool().acquire().await?;
    Ok(blob::store_file(&mut connection, &shared.objects, path).await?)
}

impl Naming<'_> {
    /// The chosen name for the last model; otherwise the original's, with what was done to it so far.
    fn name(&self, step: usize, last: bool) -> String {
        if let Some(chosen) = self.chosen.filter(|_| last) {
            return chosen.to_owned();
        }
        let mut name = self.original.strip_suffix(".onnx").unwrap_or(self.original).to_owned();
        for done in self.spec.steps.iter().take(step + 1) {
            match done.spec.kind() {
                StepKind::Prune => name.push_str("-pruned"),
                StepKind::Retrain => name.push_str("-retrained"),
                StepKind::Evaluate => {}
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_are_named_after_what_was_done() {
        let steps = json!({"kind": "pipeline", "steps": [
            {"dataset_id": null, "kind": "evaluate", "spec": {}},
            {"dataset_id": null, "kind": "retrain", "spec": {}},
        ]});
        let spec: JobSpec = serde_json::from_value(steps).unwrap();
        let naming = Naming { original: "lenet.onnx", chosen: None, spec: &spec };
        assert_eq!(naming.name(1, true), "lenet-retrained");
        let chosen = Naming { chosen: Some("small"), ..naming };
        assert_eq!(chosen.name(1, true), "small");
        assert_eq!(chosen.name(1, false), "lenet-retrained");
    }
}
