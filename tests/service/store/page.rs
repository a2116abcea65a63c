use secateur::queue;
use secateur::spec::job::{JobKind, JobStatus};
use secateur::store::job::{self, JobFilter};
use secateur::store::page::PageRequest;
use secateur::store::tenant::{DEFAULT_TENANT, TenantId};
use secateur::store::{dataset, event, model};
use serde_json::json;
use uuid::Uuid;

use crate::support::world::{World, new_job};

#[tokio::test]
async fn rows_that_come_in_between_two_pages_shift_nothing() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.model().await.id);
    }
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let request = PageRequest::parse(Some(2), cursor.as_deref()).unwrap();
        let page = model::list(&mut *world.conn().await, DEFAULT_TENANT, request).await.unwrap();
        seen.extend(page.items.iter().map(|model| model.id));
        world.model().await;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    ids.reverse();
    assert_eq!(seen, ids, "newest first, each once, none that came later");
}

#[tokio::test]
async fn a_cursor_whose_row_is_gone_still_leads_on() {
    let world = World::new().await;
    let oldest = world.dataset().await;
    let newest = world.dataset().await;
    let mut conn = world.conn().await;
    let first = PageRequest::parse(Some(1), None).unwrap();
    let page = dataset::list(&mut conn, DEFAULT_TENANT, first).await.unwrap();
    assert_eq!(page.items[0].id, newest);
    dataset::delete(&mut conn, DEFAULT_TENANT, newest).await.unwrap();
    let next = PageRequest::parse(Some(1), page.next_cursor.as_deref()).unwrap();
    let page = dataset::list(&mut conn, DEFAULT_TENANT, next).await.unwrap();
    assert_eq!((page.items[0].id, page.next_cursor), (oldest, None));
}

#[tokio::test]
async fn jobs_are_filtered_by_status_kind_and_model() {
    let world = World::new().await;
    let model_id = world.model().await.id;
    let prune = new_job(&json!({ "kind": "prune", "model_id": model_id }));
    world.enqueue_new(&prune).await.unwrap();
    let evaluate = world.enqueue().await;
    queue::cancel(&mut *world.conn().await, DEFAULT_TENANT, prune.id).await.unwrap();
    for (filter, expected) in [
        (JobFilter::default(), vec![evaluate.id, prune.id]),
        (JobFilter { status: Some(JobStatus::Cancelled), ..JobFilter::default() }, vec![prune.id]),
        (JobFilter { status: Some(JobStatus::Running), ..JobFilter::default() }, vec![]),
        (JobFilter { kind: Some(JobKind::Evaluate), ..JobFilter::default() }, vec![evaluate.id]),
        (JobFilter { model_id: Some(model_id), ..JobFilter::default() }, vec![prune.id]),
        (JobFilter { model_id: Some(model_id), kind: Some(JobKind::Evaluate), status: None }, vec![]),
    ] {
        let request = PageRequest::parse(None, None).unwrap();
        let page = job::list(&mut *world.conn().await, DEFAULT_TENANT, filter, request).await.unwrap();
        assert_eq!(page.items.iter().map(|job| job.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let other = TenantId(Uuid::now_v7());
    let request = PageRequest::parse(None, None).unwrap();
    let page = job::list(&mut *world.conn().await, other, JobFilter::default(), request).await.unwrap();
    assert_eq!(page.items, []);
}

#[tokio::test]
async fn events_are_read_on_from_a_number() {
    let world = World::new().await;
    let lease = world.running().await.lease;
    let read = async |after, limit| {
        let events = event::list(&mut *world.conn().await, DEFAULT_TENANT, lease.job_id, after, limit).await.unwrap();
        events.into_iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 10).await, [1, 2]);
    assert_eq!(read(0, 1).await, [1]);
    assert_eq!(read(1, 10).await, [2]);
    assert_eq!(read(2, 10).await, [0; 0]);
}
