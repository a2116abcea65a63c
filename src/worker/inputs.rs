//! Makes a scratch directory ready: what the job works on, and the checkpoint that it goes on from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::Shared;
use crate::queue::{Claim, load_checkpoint};
use crate::spec::attempt::{AttemptJob, InputDataset, InputModel, Limits, RunTask, Task};
use crate::spec::job::{JobSpec, StepSpec};
use crate::store::model::Model;
use crate::store::{dataset, model};

/// Folder of the checkpoint in the scratch directory.
const RESUME: &str = "resume";

/// A job that is ready to be run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) job: AttemptJob,
    /// The model that the job works on.
    pub(super) model: Model,
}

/// Lays out `scratch` for the job.
///
/// Objects are read where they lie; the checkpoint is copied, since its reader may change it.
pub(super) async fn prepare(shared: &Shared, claim: &Claim, spec: &JobSpec, scratch: &Path) -> Result<Prepared> {
    let tenant = claim.lease.tenant;
    let mut connection = shared.database.pool().acquire().await?;
    let started_from = model::get(&mut connection, tenant, claim.model_id).await?;
    let mut other_models = BTreeMap::new();
    for id in other_models_of(spec, claim.model_id) {
        let other = model::get(&mut connection, tenant, id).await?;
        other_models.insert(id, input_model(shared, &other));
    }
    let mut datasets = BTreeMap::new();
    for id in spec.steps.iter().filter_map(|step| step.dataset_id).collect::<BTreeSet<_>>() {
        let dataset = dataset::get(&mut connection, tenant, id).await?;
        let file = shared.objects.local_path(&dataset.blob.sha256);
        datasets.insert(id, InputDataset { id, file, summary: dataset.summary });
    }
    let checkpoint = load_checkpoint(&mut connection, tenant, claim.lease.job_id).await?;
    drop(connection);

    for file in &checkpoint {
        let path = scratch.join(RESUME).join(inside(&file.name)?);
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let object = shared.objects.local_path(&file.blob.sha256);
        tokio::fs::copy(object, &path).await.with_context(|| format!("restoring {} of the checkpoint", file.name))?;
    }

    let settings = &shared.settings;
    let task = RunTask {
        job_id: claim.lease.job_id,
        spec: spec.clone(),
        model: input_model(shared, &started_from),
        other_models,
        datasets,
        resume: (!checkpoint.is_empty()).then(|| PathBuf::from(RESUME)),
        checkpoint_interval_ms: milliseconds(settings.checkpoint_interval),
        host: Some(shared.launcher.scratch().host()),
        model_limits: settings.model_limits,
        dataset_limits: settings.dataset_limits,
    };
    let limits = Limits {
        memory_bytes: settings.memory_bytes,
        deadline_ms: milliseconds(claim.time_left),
        file_bytes: settings.file_bytes,
        open_files: settings.open_files,
    };
    let log_fields = BTreeMap::from([
        ("job.id".to_owned(), claim.lease.job_id.to_string()),
        ("job.attempt".to_owned(), claim.attempt.to_string()),
    ]);
    let job = AttemptJob { task: Task::Run(Box::new(task)), limits, threads: settings.threads, log_fields };
    Ok(Prepared { job, model: started_from })
}

fn input_model(shared: &Shared, model: &Model) -> InputModel {
    InputModel {
        id: model.id,
        name: model.name.clone(),
        file: shared.objects.local_path(&model.blob.sha256),
        sha256: model.blob.sha256.clone(),
    }
}

/// Models that steps name beside the one that the job works on.
fn other_models_of(spec: &JobSpec, model_id: Uuid) -> BTreeSet<Uuid> {
    let named = spec.steps.iter().filter_map(|step| match &step.spec {
        StepSpec::Evaluate(evaluate) => evaluate.baseline_model_id,
        StepSpec::Analyze(_) | StepSpec::Prune(_) | StepSpec::Retrain(_) => None,
    });
    named.filter(|id| *id != model_id).collect()
}

/// A path that leads nowhere but down.
pub(super) fn inside(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    let down = path.components().all(|component| matches!(component, Component::Normal(_)));
    if name.is_empty() || !down {
        bail!("{name:?} is no path inside a directory");
    }
    Ok(path)
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_is_refused() {
        assert_eq!(inside("weights/0.bin").unwrap(), Path::new("weights/0.bin"));
        for outside in ["", "..", "../x", "/etc/passwd", "a/../../b"] {
            assert!(inside(outside).is_err(), "{outside}");
        }
    }
}
