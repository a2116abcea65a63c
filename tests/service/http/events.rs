//! `/v1/jobs/{id}/events`: pages, streams, and streams that were broken off.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Response, StatusCode};
use secateur::queue::{self, Claim};
use secateur::spec::attempt::JobEvent;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::{App, classifier, expect, problem, report};

async fn epoch(app: &App, claim: &Claim, number: u32) {
    let event =
        JobEvent { kind: "epoch".into(), message: format!("Epoch {number}\nended."), data: json!({"epoch": number}) };
    let mut connection = app.world.conn().await;
    queue::append_event(&mut connection, &claim.lease, &event).await.expect("an event");
}

async fn running(app: &App) -> (String, String, Claim) {
    let model = app.model(classifier()).await;
    let job = app.job(json!({"kind": "prune", "model_id": model})).await;
    let claim = app.world.claim().await;
    (format!("/v1/jobs/{job}/events"), model, claim)
}

async fn stream(app: &App, path: &str, last_seen: Option<i64>) -> Response {
    let request = app.get(path).header("accept", "text/event-stream");
    let request = match last_seen {
        Some(seq) => request.header("last-event-id", seq.to_string()),
        None => request,
    };
    request.send().await.expect("an answer")
}

/// Reads a stream to its end, as `(id, event, data)`.
async fn read_all(response: Response) -> Vec<(i64, String, Value)> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text =
        tokio::time::timeout(Duration::from_secs(20), response.text()).await.expect("the stream ends").expect("a text");
    text.split("\n\n")
        .filter(|block| block.lines().any(|line| line.starts_with("data:")))
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).expect(name);
                line.to_owned()
            };
            (
                field("id").parse().expect("a number"),
                field("event"),
                serde_json::from_str(&field("data")).expect("JSON"),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_page_holds_the_events_oldest_first() {
    let app = App::start().await;
    let (path, _, claim) = running(&app).await;
    for number in 1..=3 {
        epoch(&app, &claim, number).await;
    }
    let mut seen: Vec<Value> = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let page = expect(app.get(&format!("{path}?{query}")).send().await.unwrap(), StatusCode::OK).await;
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={cursor}");
    }
    let numbers: Vec<i64> = seen.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    let epochs: Vec<&Value> =
        seen.iter().filter(|event| event["kind"] == "epoch").map(|event| &event["data"]).collect();
    assert_eq!(epochs, [&json!({"epoch": 1}), &json!({"epoch": 2}), &json!({"epoch": 3})]);
}

#[tokio::test]
async fn a_stream_follows_a_job_to_its_end() {
    // Polling alone would take an hour: what wakes the stream are notifications.
    let app = App::start_with(|settings| settings.poll_interval = Duration::from_hours(1)).await;
    let (path, model, claim) = running(&app).await;
    let response = stream(&app, &path, None).await;
    assert!(response.headers().get("content-encoding").is_none());
    let reading = tokio::spawn(read_all(response));
    epoch(&app, &claim, 1).await;
    app.publish(&claim, &report(&claim.lease.job_id.to_string(), &model), None).await;
    let events = reading.await.unwrap();
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), (1..=events.len() as i64).collect::<Vec<_>>());
    let (seq, kind, event) = events.iter().find(|event| event.1 == "epoch").unwrap();
    assert_eq!((&event["seq"], &event["kind"], &event["data"]), (&json!(seq), &json!(kind), &json!({"epoch": 1})));
    assert_eq!(events.last().unwrap().1, "succeeded");
}

#[tokio::test]
async fn a_stream_that_was_broken_off_goes_on_behind_the_last_event_seen() {
    let app = App::start().await;
    let (path, model, claim) = running(&app).await;
    for number in 1..=150 {
        epoch(&app, &claim, number).await;
    }
    let mut first = stream(&app, &path, None).await.bytes_stream();
    first.next().await.expect("something arrives").unwrap();
    drop(first);
    app.publish(&claim, &report(&claim.lease.job_id.to_string(), &model), None).await;
    let rest = read_all(stream(&app, &path, Some(10)).await).await;
    let last = rest.last().unwrap().0;
    assert_eq!(rest.iter().map(|event| event.0).collect::<Vec<_>>(), (11..=last).collect::<Vec<_>>());
    assert!(last > 150);
    assert_eq!(stream(&app, &path, Some(last)).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn streams_end_with_the_service() {
    let app = App::start().await;
    let (path, _, _claim) = running(&app).await;
    let reading = tokio::spawn(read_all(stream(&app, &path, None).await));
    app.shutdown.cancel();
    reading.await.unwrap();
}

#[tokio::test]
async fn one_stream_too_many_is_told_to_come_back() {
    let app = App::start_with(|settings| settings.concurrent_streams = 1).await;
    let (path, _, _claim) = running(&app).await;
    let _first = stream(&app, &path, None).await;
    problem(stream(&app, &path, None).await, StatusCode::SERVICE_UNAVAILABLE, "overloaded").await;
}

#[tokio::test]
async fn events_of_no_job_and_wrong_numbers_are_refused() {
    let app = App::start().await;
    let unknown = format!("/v1/jobs/{}/events", Uuid::now_v7());
    problem(app.get(&unknown).send().await.unwrap(), StatusCode::NOT_FOUND, "not_found").await;
    problem(stream(&app, &unknown, None).await, StatusCode::NOT_FOUND, "not_found").await;
    let (path, _, _claim) = running(&app).await;
    for query in ["cursor=x", "cursor=-1", "limit=0", "limit=101", "limit=x"] {
        let response = app.get(&format!("{path}?{query}")).send().await.unwrap();
        problem(response, StatusCode::BAD_REQUEST, "invalid_parameter").await;
    }
    let odd = app.get(&path).header("accept", "text/event-stream").header("last-event-id", "x").send().await.unwrap();
    problem(odd, StatusCode::BAD_REQUEST, "invalid_parameter").await;
    let odd = app.get(&path).header("accept", "image/png").send().await.unwrap();
    problem(odd, StatusCode::NOT_ACCEPTABLE, "not_acceptable").await;
}
