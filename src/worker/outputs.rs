//! Stores what an attempt left: checkpoints while it runs, results at its end.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::Shared;
use super::inputs::inside;
use crate::queue::{CheckpointFile, FinishedStep, Publication, StepModel};
use crate::spec::attempt::{Finished, MadeModel, OutputModel, StepEnd};
use crate::spec::job::{JobSpec, StepKind};
use crate::spec::report::{Certificate, Report, StepReport};
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

/// Stores what a step left at its end: its checkpoint, and in there its model.
pub(super) async fn store_step(
    shared: &Shared,
    scratch: &Path,
    end: &StepEnd,
    naming: Naming<'_>,
) -> Result<FinishedStep> {
    let checkpoint = store_checkpoint(shared, scratch, &end.directory).await?;
    let model = match &end.made {
        Some(name) => {
            let path = scratch.join("outputs").join(inside(name)?);
            let made: MadeModel = read_json(&path).await.context("reading what a step made")?;
            let file = checkpoint.iter().find(|file| file.name == made.model.file);
            let blob = file.with_context(|| format!("the checkpoint has no {}", made.model.file))?.blob.clone();
            Some(step_model(&made.model, blob, made.certificate.as_ref(), naming)?)
        }
        None => None,
    };
    Ok(FinishedStep { step: u32::try_from(end.step)?, model, event: end.event.clone(), checkpoint })
}

fn step_model(
    made: &OutputModel,
    blob: BlobRef,
    certificate: Option<&Certificate>,
    naming: Naming<'_>,
) -> Result<StepModel> {
    Ok(StepModel {
        step: u32::try_from(made.step)?,
        name: naming.name(made.step),
        blob,
        summary: made.summary.clone(),
        certificate: certificate.cloned(),
    })
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
    let report: Report = read_json(&report_path).await.context("reading the report")?;
    let model = match &finished.model {
        Some(made) => {
            let blob = store(shared, &outputs.join(inside(&made.file)?)).await.context("storing a model")?;
            let certificate = report.steps.iter().find(|step| step.step == made.step).and_then(StepReport::certificate);
            Some(step_model(made, blob, certificate, naming)?)
        }
        None => None,
    };
    let report = store(shared, &report_path).await.context("storing the report")?;
    let plan = match &finished.plan {
        Some(plan) => Some(store(shared, &outputs.join(inside(plan)?)).await.context("storing the plan")?),
        None => None,
    };
    let earlier = finished.earlier.iter().map(|step| u32::try_from(*step)).collect::<Result<_, _>>()?;
    Ok(Publication { model, earlier, report, plan })
}

/// Refuses links: an attempt that links to a file elsewhere would have the worker read it.
async fn check_regular(path: &Path) -> Result<()> {
    if !tokio::fs::symlink_metadata(path).await?.is_file() {
        bail!("{} is no regular file", path.display());
    }
    Ok(())
}

async fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    check_regular(path).await?;
    let bytes = tokio::fs::read(path).await?;
    serde_json::from_slice(&bytes).with_context(|| format!("the attempt left a {} that cannot be read", path.display()))
}

async fn store(shared: &Shared, path: &Path) -> Result<BlobRef> {
    check_regular(path).await?;
    let mut connection = shared.database.pool().acquire().await?;
    Ok(blob::store_file(&mut connection, &shared.objects, path).await?)
}

impl Naming<'_> {
    /// The chosen name for the model that comes out; otherwise the original's, with what was done to it so far.
    fn name(&self, step: usize) -> String {
        let goes_on = self.spec.steps.iter().skip(step + 1).any(|later| later.spec.kind().makes_a_model());
        if let Some(chosen) = self.chosen.filter(|_| !goes_on) {
            return chosen.to_owned();
        }
        let mut name = self.original.strip_suffix(".onnx").unwrap_or(self.original).to_owned();
        for done in self.spec.steps.iter().take(step + 1) {
            match done.spec.kind() {
                StepKind::Prune => name.push_str("-pruned"),
                StepKind::Retrain => name.push_str("-retrained"),
                StepKind::Analyze | StepKind::Evaluate => {}
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
            {"dataset_id": null, "kind": "retrain", "spec": {}},
            {"dataset_id": null, "kind": "evaluate", "spec": {}},
        ]});
        let spec: JobSpec = serde_json::from_value(steps).unwrap();
        let naming = Naming { original: "lenet.onnx", chosen: None, spec: &spec };
        assert_eq!((naming.name(1), naming.name(2)), ("lenet-retrained".into(), "lenet-retrained-retrained".into()));
        let chosen = Naming { chosen: Some("small"), ..naming };
        assert_eq!((chosen.name(1), chosen.name(2)), ("lenet-retrained".into(), "small".into()));
    }
}
