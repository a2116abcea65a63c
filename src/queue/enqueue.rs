//! A new job.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::error::QueueError;
use super::text::{clean, to_json};
use crate::spec::job::{JobRequest, JobSpec, StepSpec};
use crate::store::error::Resource;
use crate::store::job::{self, Job};
use crate::store::tenant::TenantId;

/// A job that has been checked and is to be queued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// A UUIDv7.
    pub id: Uuid,
    /// As it arrived; shown again by the API.
    pub request: JobRequest,
    pub spec: JobSpec,
    /// Running time that it may use.
    pub deadline: Duration,
    /// Higher runs first; 0 is usual.
    pub priority: i16,
}

/// Running time beyond which a deadline means nothing; the schema's bound, which keeps its arithmetic from overflowing.
const LONGEST_DEADLINE: Duration = Duration::from_hours(10 * 365 * 24);

/// Queues a job, in the transaction that also answers the request. Its models and datasets cannot be deleted from now
/// on until it has ended.
///
/// Errors: `InputMissing` with the first model or dataset that is not there.
pub async fn enqueue(conn: &mut PgConnection, tenant: TenantId, new: &NewJob) -> Result<Job, QueueError> {
    let mut tx = conn.begin().await?;
    let (models, datasets) = inputs(&new.request, &new.spec);
    for id in &models {
        let there = sqlx::query_scalar!(
            r#"select 1 as "there!" from models where tenant_id = $1 and id = $2 for key share"#,
            tenant.0,
            id,
        );
        there.fetch_optional(&mut *tx).await?.ok_or(QueueError::InputMissing { what: Resource::Model, id: *id })?;
    }
    for id in &datasets {
        let there = sqlx::query_scalar!(
            r#"select 1 as "there!" from datasets where tenant_id = $1 and id = $2 for key share"#,
            tenant.0,
            id,
        );
        there.fetch_optional(&mut *tx).await?.ok_or(QueueError::InputMissing { what: Resource::Dataset, id: *id })?;
    }
    sqlx::query!(
        "insert into jobs (tenant_id, id, kind, model_id, dataset_id, name, request, spec, priority, deadline_ms,
                           last_event_seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)",
        tenant.0,
        new.id,
        new.spec.kind.as_str(),
        new.request.model_id,
        new.request.dataset_id,
        new.request.name.as_deref().map(clean),
        to_json(&new.request)?,
        to_json(&new.spec)?,
        new.priority,
        new.deadline.clamp(Duration::from_millis(1), LONGEST_DEADLINE).as_millis() as i64,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into job_inputs (tenant_id, job_id, model_id, dataset_id)
         select $1::uuid, $2::uuid, id, null::uuid from unnest($3::uuid[]) as id union all
         select $1, $2, null, id from unnest($4::uuid[]) as id",
        tenant.0,
        new.id,
        &models,
        &datasets,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into job_events (tenant_id, job_id, seq, attempt, kind, message, data)
         values ($1, $2, 1, 0, 'queued', 'The job was queued.', 'null')",
        tenant.0,
        new.id,
    )
    .execute(&mut *tx)
    .await?;
    let job = job::get(&mut tx, tenant, new.id).await?;
    tx.commit().await?;
    Ok(job)
}

/// Every model and every dataset that the job uses, each once, in a fixed order, so that two enqueues lock alike.
fn inputs(request: &JobRequest, spec: &JobSpec) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut models = vec![request.model_id];
    let mut datasets: Vec<Uuid> = request.dataset_id.into_iter().collect();
    for step in &spec.steps {
        datasets.extend(step.dataset_id);
        match &step.spec {
            StepSpec::Evaluate(evaluate) => models.extend(evaluate.baseline_model_id),
            StepSpec::Analyze(_) | StepSpec::Prune(_) | StepSpec::Retrain(_) => {}
        }
    }
    for ids in [&mut models, &mut datasets] {
        ids.sort_unstable();
        ids.dedup();
    }
    (models, datasets)
}
